// The console's texts in Chinese, by the English text. A test looks that none is missing.
export const chinese = {
};
