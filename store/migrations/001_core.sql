CREATE TABLE applications (
  id               {{text}} PRIMARY KEY,
  name             {{text}} NOT NULL,
  key_current      {{text}} NOT NULL,
  key_previous     {{text}} NOT NULL,
  key_until        BIGINT NOT NULL,
  signing_current  {{text}} NOT NULL,
  signing_previous {{text}} NOT NULL,
  signing_until    BIGINT NOT NULL,
  tokens           {{text}} NOT NULL,
  disabled         BIGINT NOT NULL,
  config           BIGINT NOT NULL,
  relay            {{text}} NOT NULL,
  relay_domain     {{text}} NOT NULL,
  version          BIGINT NOT NULL,
  created          BIGINT NOT NULL,
  updated          BIGINT NOT NULL
);
CREATE INDEX applications_created ON applications (created, id);
CREATE INDEX applications_domain ON applications (relay_domain);

CREATE TABLE domains (
  name     {{text}} PRIMARY KEY,
  ingest   {{text}} NOT NULL,
  play     {{text}} NOT NULL,
  auth_key {{text}} NOT NULL,
  validity BIGINT NOT NULL,
  rts2     BIGINT NOT NULL,
  version  BIGINT NOT NULL,
  created  BIGINT NOT NULL,
  updated  BIGINT NOT NULL
);

CREATE TABLE tasks (
  app     {{text}} NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
  id      {{text}} NOT NULL,
  channel {{text}} NOT NULL,
  auto    BIGINT NOT NULL,
  spec    {{blob}} NOT NULL,
  content {{text}} NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  PRIMARY KEY (app, id)
);
CREATE INDEX tasks_created ON tasks (created, app, id);

-- Events outlive their application by at most the time that the log is kept, so
-- there is no reference; so it is with presence, which what is still on its way
-- into the log brings to its end.
CREATE TABLE events (
  seq     BIGINT PRIMARY KEY,
  app     {{text}} NOT NULL,
  time    BIGINT NOT NULL,
  body    {{text}} NOT NULL
);
CREATE INDEX events_app ON events (app, seq);
CREATE INDEX events_time ON events (time);

-- The last number given to an event: numbers have no gaps and are not given
-- again after a purge.
CREATE TABLE counters (
  name  {{text}} PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('events', 0);

CREATE TABLE present_channels (
  app     {{text}} NOT NULL,
  channel {{text}} NOT NULL,
  opened  BIGINT NOT NULL,
  seq     BIGINT NOT NULL,
  PRIMARY KEY (app, channel)
);

CREATE TABLE present_users (
  app     {{text}} NOT NULL,
  channel {{text}} NOT NULL,
  session {{text}} NOT NULL,
  id      {{text}} NOT NULL,
  role    BIGINT NOT NULL,
  medias  {{text}} NOT NULL,
  client  {{text}} NOT NULL,
  seq     BIGINT NOT NULL,
  PRIMARY KEY (app, channel, id, session)
);

CREATE TABLE addresses (
  id           {{text}} PRIMARY KEY,
  kind         {{text}} NOT NULL,
  app          {{text}} NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
  channel      {{text}} NOT NULL,
  user_id      {{text}} NOT NULL,
  display_name {{text}} NOT NULL,
  client_token {{text}} NOT NULL,
  created      BIGINT NOT NULL,
  expires      BIGINT NOT NULL
);
CREATE UNIQUE INDEX addresses_token ON addresses (app, kind, client_token) WHERE client_token <> '';
CREATE INDEX addresses_app ON addresses (app);
CREATE INDEX addresses_expires ON addresses (expires);

CREATE TABLE used (
  app   {{text}} NOT NULL,
  kind  {{text}} NOT NULL,
  class {{text}} NOT NULL,
  start BIGINT NOT NULL,
  ms    BIGINT NOT NULL,
  PRIMARY KEY (app, kind, class, start)
);
CREATE INDEX used_start ON used (start);

CREATE TABLE meta (
  name  {{text}} PRIMARY KEY,
  value {{text}} NOT NULL
);
