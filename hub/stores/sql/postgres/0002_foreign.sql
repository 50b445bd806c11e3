-- Foreign edges: listeners of another make, their accounts, and whom they hear. Released: never edit, add a migration.
ALTER TABLE "edge" ADD COLUMN "source_kind" text COLLATE "C";
ALTER TABLE "edge" ADD COLUMN "source_node" text COLLATE "C";
CREATE UNIQUE INDEX "edge_source_unique" ON "edge" ("tenant", "source_kind", "source_node");

CREATE TABLE "foreign_account" (
  "tenant" text COLLATE "C" NOT NULL,
  "edge" text COLLATE "C" NOT NULL,
  "received" bigint NOT NULL,
  "committed" bigint NOT NULL,
  "consent_refused" bigint NOT NULL,
  "identity_refused" bigint NOT NULL,
  "lost" bigint NOT NULL,
  "at_source" text COLLATE "C" NOT NULL,
  "first_at_ms" bigint NOT NULL,
  "last_at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "edge")
);
CREATE INDEX "foreign_account_last_at_ms" ON "foreign_account" ("last_at_ms");

CREATE TABLE "foreign_track" (
  "tenant" text COLLATE "C" NOT NULL,
  "edge" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "present" boolean NOT NULL,
  "recent" jsonb NOT NULL,
  "gaps" jsonb NOT NULL,
  "weak_since_ms" bigint,
  "heard_at_ms" bigint NOT NULL,
  "due_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "edge", "profile")
);
CREATE INDEX "foreign_track_profile" ON "foreign_track" ("tenant", "profile");
CREATE INDEX "foreign_track_due_ms" ON "foreign_track" ("due_ms");
