package media

// MaxID is how long the ids of applications, channels, users and tasks may be
// where nothing else is said.
const MaxID = 64

// IsID tells whether s may be an id: 1 to most of A-Z a-z 0-9 _ and -, as ARTC has
// it.
func IsID(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
