-- Callbacks: who wants to know (subscriptions), what is on its way to them
-- (lanes, deliveries), what could not be delivered (failures), what was tried
-- (records). outbox.go says why a backlog has lanes, records.go why records
-- are numbered.
CREATE TABLE subscriptions (
  id {{text}} PRIMARY KEY,
  app {{text}} NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
  kind {{text}} NOT NULL,
  url {{text}} NOT NULL,
  channels {{text}} NOT NULL,
  events {{text}} NOT NULL,
  users {{text}} NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL
);
CREATE INDEX subscriptions_app ON subscriptions (app, kind, channels);

CREATE TABLE lanes (
  id {{serial}},
  sub {{text}} NOT NULL,
  channel {{text}} NOT NULL,
  waiting BIGINT NOT NULL,
  state BIGINT NOT NULL,
  due BIGINT NOT NULL,
  fails BIGINT NOT NULL,
  since BIGINT NOT NULL,
  tried BIGINT NOT NULL
);
CREATE UNIQUE INDEX lanes_channel ON lanes (sub, channel);
CREATE INDEX lanes_due ON lanes (sub, state, due);

CREATE TABLE deliveries (
  id {{serial}},
  lane BIGINT NOT NULL,
  sub {{text}} NOT NULL,
  msg {{text}} NOT NULL,
  seq BIGINT NOT NULL,
  event {{blob}} NOT NULL,
  payload {{text}} NOT NULL,
  attempts BIGINT NOT NULL,
  refused BIGINT NOT NULL,
  first BIGINT NOT NULL,
  created BIGINT NOT NULL
);
CREATE INDEX deliveries_lane ON deliveries (lane, id);
CREATE INDEX deliveries_sub ON deliveries (sub, id);
CREATE UNIQUE INDEX deliveries_msg ON deliveries (msg);

CREATE TABLE failures (
  id {{serial}},
  app {{text}} NOT NULL,
  sub {{text}} NOT NULL,
  channel {{text}} NOT NULL,
  msg {{text}} NOT NULL,
  seq BIGINT NOT NULL,
  event {{blob}} NOT NULL,
  payload {{text}} NOT NULL,
  attempts BIGINT NOT NULL,
  created BIGINT NOT NULL,
  failed BIGINT NOT NULL
);
CREATE INDEX failures_sub ON failures (sub, id);
CREATE UNIQUE INDEX failures_msg ON failures (msg);

CREATE TABLE records (
  id {{serial}},
  app {{text}} NOT NULL,
  kind {{text}} NOT NULL,
  sub {{text}} NOT NULL,
  kind_no BIGINT NOT NULL,
  sub_no BIGINT NOT NULL,
  msg {{text}} NOT NULL,
  seq BIGINT NOT NULL,
  type {{text}} NOT NULL,
  channel {{text}} NOT NULL,
  uid {{text}} NOT NULL,
  task {{text}} NOT NULL,
  url {{text}} NOT NULL,
  payload {{text}} NOT NULL,
  code BIGINT NOT NULL,
  failure {{text}} NOT NULL,
  attempt BIGINT NOT NULL,
  cost BIGINT NOT NULL,
  time BIGINT NOT NULL
);
CREATE UNIQUE INDEX records_kind ON records (app, kind, kind_no);
CREATE UNIQUE INDEX records_sub ON records (sub, sub_no);
CREATE INDEX records_msg ON records (msg);
CREATE INDEX records_channel ON records (app, channel, id);
CREATE INDEX records_type ON records (app, type, id);
CREATE INDEX records_task ON records (app, task, id) WHERE task <> '';
CREATE INDEX records_failed ON records (app, id) WHERE failure <> '';
