-- What is made of the streams of the origin, and which are on air by the log.
CREATE TABLE templates (
  app      {{text}} NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
  id       {{text}} NOT NULL,
  domain   {{text}} NOT NULL,
  app_name {{text}} NOT NULL,
  kind     {{text}} NOT NULL,
  spec     {{text}} NOT NULL,
  disabled BIGINT NOT NULL,
  version  BIGINT NOT NULL,
  created  BIGINT NOT NULL,
  updated  BIGINT NOT NULL,
  PRIMARY KEY (app, id)
);
CREATE UNIQUE INDEX templates_stream ON templates (domain, app_name, app, kind);

CREATE TABLE present_streams (
  app        {{text}} NOT NULL,
  domain     {{text}} NOT NULL,
  stream_app {{text}} NOT NULL,
  name       {{text}} NOT NULL,
  since      BIGINT NOT NULL,
  seq        BIGINT NOT NULL,
  PRIMARY KEY (app, stream_app, name)
);
