-- Which secret the people of this database are hashed with, and which starts of an edge were heard, to notice a clone.
CREATE TABLE "seal" (
  "tenant" text COLLATE "C" NOT NULL,
  "fingerprint" text COLLATE "C" NOT NULL,
  "made_at_ms" bigint NOT NULL,
  "proved_at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant")
);
ALTER TABLE "edge" ADD COLUMN "boots" jsonb NOT NULL DEFAULT '[]';
ALTER TABLE "edge" ADD COLUMN "cloned_at_ms" bigint;
