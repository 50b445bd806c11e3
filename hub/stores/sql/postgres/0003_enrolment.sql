-- Enrolment: one-time claims, and the certificates of edges. Released: never edit, add a migration.
CREATE TABLE "edge_claim" (
  "tenant" text COLLATE "C" NOT NULL,
  "claim" text COLLATE "C" NOT NULL,
  "edge" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "secret_sha256" text COLLATE "C" NOT NULL,
  "made_by" text COLLATE "C" NOT NULL,
  "created_at_ms" bigint NOT NULL,
  "expires_at_ms" bigint NOT NULL,
  "used_at_ms" bigint,
  PRIMARY KEY ("tenant", "claim")
);
CREATE INDEX "edge_claim_edge" ON "edge_claim" ("tenant", "edge");
CREATE INDEX "edge_claim_expires_at_ms" ON "edge_claim" ("expires_at_ms");

CREATE TABLE "edge_certificate" (
  "tenant" text COLLATE "C" NOT NULL,
  "serial" text COLLATE "C" NOT NULL,
  "edge" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "public_key" text COLLATE "C" NOT NULL,
  "certificate" text COLLATE "C" NOT NULL,
  "renews" text COLLATE "C" NOT NULL,
  "not_before_ms" bigint NOT NULL,
  "not_after_ms" bigint NOT NULL,
  "revoked_at_ms" bigint,
  "revoked_why" text COLLATE "C" NOT NULL,
  PRIMARY KEY ("tenant", "serial")
);
CREATE INDEX "edge_certificate_edge" ON "edge_certificate" ("tenant", "edge");
CREATE INDEX "edge_certificate_not_after_ms" ON "edge_certificate" ("not_after_ms");
