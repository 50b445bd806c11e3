-- Foreign edges: listeners of another make, their accounts, and whom they hear. Released: never edit, add a migration.
ALTER TABLE "edge" ADD COLUMN "source_kind" TEXT;
ALTER TABLE "edge" ADD COLUMN "source_node" TEXT;
CREATE UNIQUE INDEX "edge_source_unique" ON "edge" ("tenant", "source_kind", "source_node");

CREATE TABLE "foreign_account" (
  "tenant" TEXT NOT NULL,
  "edge" TEXT NOT NULL,
  "received" INTEGER NOT NULL,
  "committed" INTEGER NOT NULL,
  "consent_refused" INTEGER NOT NULL,
  "identity_refused" INTEGER NOT NULL,
  "lost" INTEGER NOT NULL,
  "at_source" TEXT NOT NULL,
  "first_at_ms" INTEGER NOT NULL,
  "last_at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "edge")
) STRICT;
CREATE INDEX "foreign_account_last_at_ms" ON "foreign_account" ("last_at_ms");

CREATE TABLE "foreign_track" (
  "tenant" TEXT NOT NULL,
  "edge" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "present" INTEGER NOT NULL,
  "recent" TEXT NOT NULL,
  "gaps" TEXT NOT NULL,
  "weak_since_ms" INTEGER,
  "heard_at_ms" INTEGER NOT NULL,
  "due_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "edge", "profile")
) STRICT;
CREATE INDEX "foreign_track_profile" ON "foreign_track" ("tenant", "profile");
CREATE INDEX "foreign_track_due_ms" ON "foreign_track" ("due_ms");
