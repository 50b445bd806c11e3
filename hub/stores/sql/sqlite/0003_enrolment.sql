-- Enrolment: one-time claims, and the certificates of edges. Released: never edit, add a migration.
CREATE TABLE "edge_claim" (
  "tenant" TEXT NOT NULL,
  "claim" TEXT NOT NULL,
  "edge" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "secret_sha256" TEXT NOT NULL,
  "made_by" TEXT NOT NULL,
  "created_at_ms" INTEGER NOT NULL,
  "expires_at_ms" INTEGER NOT NULL,
  "used_at_ms" INTEGER,
  PRIMARY KEY ("tenant", "claim")
) STRICT;
CREATE INDEX "edge_claim_edge" ON "edge_claim" ("tenant", "edge");
CREATE INDEX "edge_claim_expires_at_ms" ON "edge_claim" ("expires_at_ms");

CREATE TABLE "edge_certificate" (
  "tenant" TEXT NOT NULL,
  "serial" TEXT NOT NULL,
  "edge" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "public_key" TEXT NOT NULL,
  "certificate" TEXT NOT NULL,
  "renews" TEXT NOT NULL,
  "not_before_ms" INTEGER NOT NULL,
  "not_after_ms" INTEGER NOT NULL,
  "revoked_at_ms" INTEGER,
  "revoked_why" TEXT NOT NULL,
  PRIMARY KEY ("tenant", "serial")
) STRICT;
CREATE INDEX "edge_certificate_edge" ON "edge_certificate" ("tenant", "edge");
CREATE INDEX "edge_certificate_not_after_ms" ON "edge_certificate" ("not_after_ms");
