-- Answers to requests that may come again (Idempotency-Key), for a day.
CREATE TABLE answers (
  id       {{text}} PRIMARY KEY,
  request  {{text}} NOT NULL,
  status   BIGINT NOT NULL,
  version  BIGINT NOT NULL,
  location {{text}} NOT NULL,
  body     {{blob}} NOT NULL,
  created  BIGINT NOT NULL
);
CREATE INDEX answers_created ON answers (created);
