-- The first schema. Released: never edit, add a migration. Meaning, retention and erasure: hub/stores/schema.py
CREATE TABLE "shop" (
  "tenant" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "name" TEXT NOT NULL,
  "tz" TEXT NOT NULL,
  "locale" TEXT NOT NULL,
  "currency" TEXT NOT NULL,
  "version" INTEGER NOT NULL,
  "updated_at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "store")
) STRICT;

CREATE TABLE "zone" (
  "tenant" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "zone" TEXT NOT NULL,
  "name" TEXT NOT NULL,
  "kind" TEXT NOT NULL,
  "version" INTEGER NOT NULL,
  "updated_at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "store", "zone")
) STRICT;

CREATE TABLE "edge" (
  "tenant" TEXT NOT NULL,
  "edge" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "zone" TEXT,
  "till" INTEGER NOT NULL,
  "status" TEXT NOT NULL,
  "status_boot" TEXT NOT NULL,
  "status_at_ms" INTEGER NOT NULL,
  "version" INTEGER NOT NULL,
  "updated_at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "edge")
) STRICT;
CREATE INDEX "edge_store" ON "edge" ("tenant", "store");

CREATE TABLE "edge_boot" (
  "tenant" TEXT NOT NULL,
  "edge" TEXT NOT NULL,
  "boot" TEXT NOT NULL,
  "upto" INTEGER NOT NULL,
  "offset_ms" INTEGER,
  "offset_error_ms" INTEGER NOT NULL,
  "offset_source" TEXT NOT NULL,
  "offset_bound_ms" INTEGER,
  "committed" INTEGER NOT NULL,
  "consent_refused" INTEGER NOT NULL,
  "identity_refused" INTEGER NOT NULL,
  "quarantined" INTEGER NOT NULL,
  "lost" INTEGER NOT NULL,
  "duplicates" INTEGER NOT NULL,
  "unknown_fields" INTEGER NOT NULL,
  "first_at_ms" INTEGER NOT NULL,
  "last_at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "edge", "boot")
) STRICT;
CREATE INDEX "edge_boot_last_at_ms" ON "edge_boot" ("last_at_ms");

CREATE TABLE "profile" (
  "tenant" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "state" TEXT NOT NULL,
  "merged_into" TEXT,
  "tz" TEXT NOT NULL,
  "locale" TEXT NOT NULL,
  "created_at_ms" INTEGER NOT NULL,
  "seen_at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "profile")
) STRICT;

CREATE TABLE "identity" (
  "tenant" TEXT NOT NULL,
  "namespace" TEXT NOT NULL,
  "value_hash" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "trust" INTEGER NOT NULL,
  "source" TEXT NOT NULL,
  "valid_from_ms" INTEGER NOT NULL,
  "valid_to_ms" INTEGER,
  PRIMARY KEY ("tenant", "namespace", "value_hash")
) STRICT;
CREATE INDEX "identity_profile" ON "identity" ("tenant", "profile");
CREATE INDEX "identity_valid_to_ms" ON "identity" ("valid_to_ms");

CREATE TABLE "device" (
  "tenant" TEXT NOT NULL,
  "device" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "channel" TEXT NOT NULL,
  "address" TEXT NOT NULL,
  "os_permission" INTEGER NOT NULL,
  "created_at_ms" INTEGER NOT NULL,
  "dead_at_ms" INTEGER,
  PRIMARY KEY ("tenant", "device")
) STRICT;
CREATE INDEX "device_profile" ON "device" ("tenant", "profile");
CREATE INDEX "device_dead_at_ms" ON "device" ("dead_at_ms");

CREATE TABLE "consent_event" (
  "tenant" TEXT NOT NULL,
  "event" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "purpose" TEXT NOT NULL,
  "action" TEXT NOT NULL,
  "notice" TEXT NOT NULL,
  "notice_sha256" TEXT NOT NULL,
  "method" TEXT NOT NULL,
  "actor" TEXT NOT NULL,
  "at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "event")
) STRICT;
CREATE INDEX "consent_event_profile" ON "consent_event" ("tenant", "profile");
CREATE INDEX "consent_event_at_ms" ON "consent_event" ("at_ms");

CREATE TABLE "consent" (
  "tenant" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "purpose" TEXT NOT NULL,
  "given" INTEGER NOT NULL,
  "event" TEXT NOT NULL,
  "at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "profile", "purpose")
) STRICT;

CREATE TABLE "offer" (
  "tenant" TEXT NOT NULL,
  "offer" TEXT NOT NULL,
  "version" INTEGER NOT NULL,
  "state" TEXT NOT NULL,
  "body" TEXT NOT NULL,
  "created_at_ms" INTEGER NOT NULL,
  "superseded_at_ms" INTEGER,
  PRIMARY KEY ("tenant", "offer", "version")
) STRICT;
CREATE INDEX "offer_state" ON "offer" ("tenant", "state");

CREATE TABLE "visit" (
  "tenant" TEXT NOT NULL,
  "visit" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "state" TEXT NOT NULL,
  "entered_at_ms" INTEGER NOT NULL,
  "entered_error_ms" INTEGER NOT NULL,
  "seen_at_ms" INTEGER NOT NULL,
  "left_at_ms" INTEGER,
  "deadline_ms" INTEGER,
  "zone" TEXT,
  "zone_since_ms" INTEGER,
  "rival" TEXT,
  "rival_since_ms" INTEGER,
  "edges" TEXT NOT NULL,
  "fired" TEXT NOT NULL,
  "pushes" INTEGER NOT NULL,
  "opened_by" TEXT NOT NULL,
  PRIMARY KEY ("tenant", "visit")
) STRICT;
CREATE INDEX "visit_profile_store_seen_at_ms" ON "visit" ("tenant", "profile", "store", "seen_at_ms");
CREATE INDEX "visit_store_state" ON "visit" ("tenant", "store", "state");
CREATE INDEX "visit_deadline_ms" ON "visit" ("deadline_ms");
CREATE INDEX "visit_seen_at_ms" ON "visit" ("seen_at_ms");

CREATE TABLE "zone_stay" (
  "tenant" TEXT NOT NULL,
  "visit" TEXT NOT NULL,
  "entered_at_ms" INTEGER NOT NULL,
  "zone" TEXT NOT NULL,
  "left_at_ms" INTEGER,
  PRIMARY KEY ("tenant", "visit", "entered_at_ms")
) STRICT;
CREATE INDEX "zone_stay_entered_at_ms" ON "zone_stay" ("entered_at_ms");

CREATE TABLE "decision" (
  "tenant" TEXT NOT NULL,
  "decision" TEXT NOT NULL,
  "trigger" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "visit" TEXT NOT NULL,
  "policy" TEXT NOT NULL,
  "chosen" TEXT,
  "grant" TEXT,
  "propensity" REAL NOT NULL,
  "candidates" TEXT NOT NULL,
  "at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "decision")
) STRICT;
CREATE UNIQUE INDEX "decision_trigger_unique" ON "decision" ("tenant", "trigger");
CREATE INDEX "decision_profile" ON "decision" ("tenant", "profile");
CREATE INDEX "decision_at_ms" ON "decision" ("at_ms");

CREATE TABLE "offer_grant" (
  "tenant" TEXT NOT NULL,
  "grant" TEXT NOT NULL,
  "offer" TEXT NOT NULL,
  "offer_version" INTEGER NOT NULL,
  "profile" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "visit" TEXT NOT NULL,
  "decision" TEXT NOT NULL,
  "state" TEXT NOT NULL,
  "curve" TEXT NOT NULL,
  "currency" TEXT NOT NULL,
  "min_basket_minor" INTEGER NOT NULL,
  "max_discount_minor" INTEGER NOT NULL,
  "issued_at_ms" INTEGER NOT NULL,
  "expires_at_ms" INTEGER NOT NULL,
  "lock_at_ms" INTEGER,
  "lock_bp" INTEGER,
  "hold_until_ms" INTEGER,
  "due_at_ms" INTEGER,
  "code_hash" TEXT NOT NULL,
  PRIMARY KEY ("tenant", "grant")
) STRICT;
CREATE UNIQUE INDEX "offer_grant_code_hash_unique" ON "offer_grant" ("tenant", "code_hash");
CREATE INDEX "offer_grant_profile_state" ON "offer_grant" ("tenant", "profile", "state");
CREATE INDEX "offer_grant_state" ON "offer_grant" ("tenant", "state");
CREATE INDEX "offer_grant_due_at_ms" ON "offer_grant" ("due_at_ms");
CREATE INDEX "offer_grant_issued_at_ms" ON "offer_grant" ("issued_at_ms");

CREATE TABLE "push" (
  "tenant" TEXT NOT NULL,
  "push" TEXT NOT NULL,
  "grant" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "device" TEXT NOT NULL,
  "channel" TEXT NOT NULL,
  "address" TEXT NOT NULL,
  "state" TEXT NOT NULL,
  "reason" TEXT NOT NULL,
  "attempts" INTEGER NOT NULL,
  "due_at_ms" INTEGER,
  "expires_at_ms" INTEGER NOT NULL,
  "created_at_ms" INTEGER NOT NULL,
  "settled_at_ms" INTEGER,
  "body" TEXT NOT NULL,
  PRIMARY KEY ("tenant", "push")
) STRICT;
CREATE UNIQUE INDEX "push_grant_device_unique" ON "push" ("tenant", "grant", "device");
CREATE INDEX "push_profile" ON "push" ("tenant", "profile");
CREATE INDEX "push_state" ON "push" ("tenant", "state");
CREATE INDEX "push_due_at_ms" ON "push" ("due_at_ms");
CREATE INDEX "push_settled_at_ms" ON "push" ("settled_at_ms");

CREATE TABLE "redemption" (
  "tenant" TEXT NOT NULL,
  "redemption" TEXT NOT NULL,
  "grant" TEXT NOT NULL,
  "profile" TEXT NOT NULL,
  "store" TEXT NOT NULL,
  "pos" TEXT NOT NULL,
  "state" TEXT NOT NULL,
  "basket_minor" INTEGER NOT NULL,
  "currency" TEXT NOT NULL,
  "value_bp" INTEGER NOT NULL,
  "discount_minor" INTEGER NOT NULL,
  "t_lock_ms" INTEGER NOT NULL,
  "at_ms" INTEGER NOT NULL,
  "reversed_at_ms" INTEGER,
  PRIMARY KEY ("tenant", "redemption")
) STRICT;
CREATE UNIQUE INDEX "redemption_grant_unique" ON "redemption" ("tenant", "grant");
CREATE INDEX "redemption_profile" ON "redemption" ("tenant", "profile");
CREATE INDEX "redemption_at_ms" ON "redemption" ("at_ms");

CREATE TABLE "quarantine" (
  "tenant" TEXT NOT NULL,
  "quarantine" TEXT NOT NULL,
  "edge" TEXT NOT NULL,
  "boot" TEXT NOT NULL,
  "seq" INTEGER NOT NULL,
  "fault" TEXT NOT NULL,
  "reason" TEXT NOT NULL,
  "body" TEXT NOT NULL,
  "at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "quarantine")
) STRICT;
CREATE INDEX "quarantine_at_ms" ON "quarantine" ("at_ms");

CREATE TABLE "loss" (
  "tenant" TEXT NOT NULL,
  "edge" TEXT NOT NULL,
  "boot" TEXT NOT NULL,
  "first_seq" INTEGER NOT NULL,
  "seq" INTEGER NOT NULL,
  "samples" INTEGER NOT NULL,
  "enters" INTEGER NOT NULL,
  "exits" INTEGER NOT NULL,
  "reason" TEXT NOT NULL,
  "at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "edge", "boot", "first_seq")
) STRICT;
CREATE INDEX "loss_at_ms" ON "loss" ("at_ms");

CREATE TABLE "api_key" (
  "tenant" TEXT NOT NULL,
  "key" TEXT NOT NULL,
  "scope" TEXT NOT NULL,
  "secret_sha256" TEXT NOT NULL,
  "label" TEXT NOT NULL,
  "profile" TEXT,
  "device" TEXT,
  "store" TEXT,
  "created_at_ms" INTEGER NOT NULL,
  "expires_at_ms" INTEGER,
  "revoked_at_ms" INTEGER,
  PRIMARY KEY ("tenant", "key")
) STRICT;
CREATE INDEX "api_key_profile" ON "api_key" ("tenant", "profile");
CREATE INDEX "api_key_revoked_at_ms" ON "api_key" ("revoked_at_ms");

CREATE TABLE "reply" (
  "tenant" TEXT NOT NULL,
  "caller" TEXT NOT NULL,
  "idempotency" TEXT NOT NULL,
  "request_sha256" TEXT NOT NULL,
  "status" INTEGER NOT NULL,
  "body" TEXT NOT NULL,
  "at_ms" INTEGER NOT NULL,
  PRIMARY KEY ("tenant", "caller", "idempotency")
) STRICT;
CREATE INDEX "reply_at_ms" ON "reply" ("at_ms");
