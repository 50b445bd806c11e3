-- Which secret the people of this database are hashed with, and which starts of an edge were heard, to notice a clone.
CREATE TABLE "seal" (
  "tenant" TEXT NOT NULL,
  "fingerprint" TEXT NOT NULL,
  "made_at_ms" INTEGER NOT NULL,
  "proved_at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant")
) STRICT;
ALTER TABLE "edge" ADD COLUMN "boots" TEXT NOT NULL DEFAULT '[]';
ALTER TABLE "edge" ADD COLUMN "cloned_at_ms" INTEGER;
