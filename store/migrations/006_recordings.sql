-- A cloud recording's own callback has a key of its own.
ALTER TABLE subscriptions ADD COLUMN secret {{text}} NOT NULL DEFAULT '';
