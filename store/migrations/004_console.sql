CREATE TABLE administrators (
  name     {{text}} PRIMARY KEY,
  role     {{text}} NOT NULL,
  password {{text}} NOT NULL,
  disabled BIGINT NOT NULL,
  version  BIGINT NOT NULL,
  created  BIGINT NOT NULL,
  updated  BIGINT NOT NULL
);

-- A login's id is a hash of what the browser holds.
CREATE TABLE logins (
  id      {{text}} PRIMARY KEY,
  name    {{text}} NOT NULL REFERENCES administrators (name) ON DELETE CASCADE,
  address {{text}} NOT NULL,
  agent   {{text}} NOT NULL,
  created BIGINT NOT NULL,
  used    BIGINT NOT NULL,
  expires BIGINT NOT NULL
);
CREATE INDEX logins_name ON logins (name, created);
CREATE INDEX logins_expires ON logins (expires);

CREATE TABLE audit (
  id      {{serial}},
  time    BIGINT NOT NULL,
  kind    {{text}} NOT NULL,
  who     {{text}} NOT NULL,
  address {{text}} NOT NULL,
  action  {{text}} NOT NULL,
  object  {{text}} NOT NULL,
  app     {{text}} NOT NULL,
  summary {{text}} NOT NULL,
  result  BIGINT NOT NULL
);
CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_who ON audit (who, id);
CREATE INDEX audit_app ON audit (app, id);
