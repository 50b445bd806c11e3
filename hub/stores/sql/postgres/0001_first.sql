-- The first schema. Released: never edit, add a migration. Meaning, retention and erasure: hub/stores/schema.py
CREATE TABLE "shop" (
  "tenant" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "name" text COLLATE "C" NOT NULL,
  "tz" text COLLATE "C" NOT NULL,
  "locale" text COLLATE "C" NOT NULL,
  "currency" text COLLATE "C" NOT NULL,
  "version" bigint NOT NULL,
  "updated_at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "store")
);

CREATE TABLE "zone" (
  "tenant" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "zone" text COLLATE "C" NOT NULL,
  "name" text COLLATE "C" NOT NULL,
  "kind" text COLLATE "C" NOT NULL,
  "version" bigint NOT NULL,
  "updated_at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "store", "zone")
);

CREATE TABLE "edge" (
  "tenant" text COLLATE "C" NOT NULL,
  "edge" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "zone" text COLLATE "C",
  "till" boolean NOT NULL,
  "status" text COLLATE "C" NOT NULL,
  "status_boot" text COLLATE "C" NOT NULL,
  "status_at_ms" bigint NOT NULL,
  "version" bigint NOT NULL,
  "updated_at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "edge")
);
CREATE INDEX "edge_store" ON "edge" ("tenant", "store");

CREATE TABLE "edge_boot" (
  "tenant" text COLLATE "C" NOT NULL,
  "edge" text COLLATE "C" NOT NULL,
  "boot" text COLLATE "C" NOT NULL,
  "upto" bigint NOT NULL,
  "offset_ms" bigint,
  "offset_error_ms" bigint NOT NULL,
  "offset_source" text COLLATE "C" NOT NULL,
  "offset_bound_ms" bigint,
  "committed" bigint NOT NULL,
  "consent_refused" bigint NOT NULL,
  "identity_refused" bigint NOT NULL,
  "quarantined" bigint NOT NULL,
  "lost" bigint NOT NULL,
  "duplicates" bigint NOT NULL,
  "unknown_fields" bigint NOT NULL,
  "first_at_ms" bigint NOT NULL,
  "last_at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "edge", "boot")
);
CREATE INDEX "edge_boot_last_at_ms" ON "edge_boot" ("last_at_ms");

CREATE TABLE "profile" (
  "tenant" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "state" text COLLATE "C" NOT NULL,
  "merged_into" text COLLATE "C",
  "tz" text COLLATE "C" NOT NULL,
  "locale" text COLLATE "C" NOT NULL,
  "created_at_ms" bigint NOT NULL,
  "seen_at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "profile")
);

CREATE TABLE "identity" (
  "tenant" text COLLATE "C" NOT NULL,
  "namespace" text COLLATE "C" NOT NULL,
  "value_hash" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "trust" bigint NOT NULL,
  "source" text COLLATE "C" NOT NULL,
  "valid_from_ms" bigint NOT NULL,
  "valid_to_ms" bigint,
  PRIMARY KEY ("tenant", "namespace", "value_hash")
);
CREATE INDEX "identity_profile" ON "identity" ("tenant", "profile");
CREATE INDEX "identity_valid_to_ms" ON "identity" ("valid_to_ms");

CREATE TABLE "device" (
  "tenant" text COLLATE "C" NOT NULL,
  "device" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "channel" text COLLATE "C" NOT NULL,
  "address" text COLLATE "C" NOT NULL,
  "os_permission" boolean NOT NULL,
  "created_at_ms" bigint NOT NULL,
  "dead_at_ms" bigint,
  PRIMARY KEY ("tenant", "device")
);
CREATE INDEX "device_profile" ON "device" ("tenant", "profile");
CREATE INDEX "device_dead_at_ms" ON "device" ("dead_at_ms");

CREATE TABLE "consent_event" (
  "tenant" text COLLATE "C" NOT NULL,
  "event" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "purpose" text COLLATE "C" NOT NULL,
  "action" text COLLATE "C" NOT NULL,
  "notice" text COLLATE "C" NOT NULL,
  "notice_sha256" text COLLATE "C" NOT NULL,
  "method" text COLLATE "C" NOT NULL,
  "actor" text COLLATE "C" NOT NULL,
  "at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "event")
);
CREATE INDEX "consent_event_profile" ON "consent_event" ("tenant", "profile");
CREATE INDEX "consent_event_at_ms" ON "consent_event" ("at_ms");

CREATE TABLE "consent" (
  "tenant" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "purpose" text COLLATE "C" NOT NULL,
  "given" boolean NOT NULL,
  "event" text COLLATE "C" NOT NULL,
  "at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "profile", "purpose")
);

CREATE TABLE "offer" (
  "tenant" text COLLATE "C" NOT NULL,
  "offer" text COLLATE "C" NOT NULL,
  "version" bigint NOT NULL,
  "state" text COLLATE "C" NOT NULL,
  "body" jsonb NOT NULL,
  "created_at_ms" bigint NOT NULL,
  "superseded_at_ms" bigint,
  PRIMARY KEY ("tenant", "offer", "version")
);
CREATE INDEX "offer_state" ON "offer" ("tenant", "state");

CREATE TABLE "visit" (
  "tenant" text COLLATE "C" NOT NULL,
  "visit" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "state" text COLLATE "C" NOT NULL,
  "entered_at_ms" bigint NOT NULL,
  "entered_error_ms" bigint NOT NULL,
  "seen_at_ms" bigint NOT NULL,
  "left_at_ms" bigint,
  "deadline_ms" bigint,
  "zone" text COLLATE "C",
  "zone_since_ms" bigint,
  "rival" text COLLATE "C",
  "rival_since_ms" bigint,
  "edges" jsonb NOT NULL,
  "fired" jsonb NOT NULL,
  "pushes" bigint NOT NULL,
  "opened_by" text COLLATE "C" NOT NULL,
  PRIMARY KEY ("tenant", "visit")
);
CREATE INDEX "visit_profile_store_seen_at_ms" ON "visit" ("tenant", "profile", "store", "seen_at_ms");
CREATE INDEX "visit_store_state" ON "visit" ("tenant", "store", "state");
CREATE INDEX "visit_deadline_ms" ON "visit" ("deadline_ms");
CREATE INDEX "visit_seen_at_ms" ON "visit" ("seen_at_ms");

CREATE TABLE "zone_stay" (
  "tenant" text COLLATE "C" NOT NULL,
  "visit" text COLLATE "C" NOT NULL,
  "entered_at_ms" bigint NOT NULL,
  "zone" text COLLATE "C" NOT NULL,
  "left_at_ms" bigint,
  PRIMARY KEY ("tenant", "visit", "entered_at_ms")
);
CREATE INDEX "zone_stay_entered_at_ms" ON "zone_stay" ("entered_at_ms");

CREATE TABLE "decision" (
  "tenant" text COLLATE "C" NOT NULL,
  "decision" text COLLATE "C" NOT NULL,
  "trigger" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "visit" text COLLATE "C" NOT NULL,
  "policy" text COLLATE "C" NOT NULL,
  "chosen" text COLLATE "C",
  "grant" text COLLATE "C",
  "propensity" double precision NOT NULL,
  "candidates" jsonb NOT NULL,
  "at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "decision")
);
CREATE UNIQUE INDEX "decision_trigger_unique" ON "decision" ("tenant", "trigger");
CREATE INDEX "decision_profile" ON "decision" ("tenant", "profile");
CREATE INDEX "decision_at_ms" ON "decision" ("at_ms");

CREATE TABLE "offer_grant" (
  "tenant" text COLLATE "C" NOT NULL,
  "grant" text COLLATE "C" NOT NULL,
  "offer" text COLLATE "C" NOT NULL,
  "offer_version" bigint NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "visit" text COLLATE "C" NOT NULL,
  "decision" text COLLATE "C" NOT NULL,
  "state" text COLLATE "C" NOT NULL,
  "curve" jsonb NOT NULL,
  "currency" text COLLATE "C" NOT NULL,
  "min_basket_minor" bigint NOT NULL,
  "max_discount_minor" bigint NOT NULL,
  "issued_at_ms" bigint NOT NULL,
  "expires_at_ms" bigint NOT NULL,
  "lock_at_ms" bigint,
  "lock_bp" bigint,
  "hold_until_ms" bigint,
  "due_at_ms" bigint,
  "code_hash" text COLLATE "C" NOT NULL,
  PRIMARY KEY ("tenant", "grant")
);
CREATE UNIQUE INDEX "offer_grant_code_hash_unique" ON "offer_grant" ("tenant", "code_hash");
CREATE INDEX "offer_grant_profile_state" ON "offer_grant" ("tenant", "profile", "state");
CREATE INDEX "offer_grant_state" ON "offer_grant" ("tenant", "state");
CREATE INDEX "offer_grant_due_at_ms" ON "offer_grant" ("due_at_ms");
CREATE INDEX "offer_grant_issued_at_ms" ON "offer_grant" ("issued_at_ms");

CREATE TABLE "push" (
  "tenant" text COLLATE "C" NOT NULL,
  "push" text COLLATE "C" NOT NULL,
  "grant" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "device" text COLLATE "C" NOT NULL,
  "channel" text COLLATE "C" NOT NULL,
  "address" text COLLATE "C" NOT NULL,
  "state" text COLLATE "C" NOT NULL,
  "reason" text COLLATE "C" NOT NULL,
  "attempts" bigint NOT NULL,
  "due_at_ms" bigint,
  "expires_at_ms" bigint NOT NULL,
  "created_at_ms" bigint NOT NULL,
  "settled_at_ms" bigint,
  "body" jsonb NOT NULL,
  PRIMARY KEY ("tenant", "push")
);
CREATE UNIQUE INDEX "push_grant_device_unique" ON "push" ("tenant", "grant", "device");
CREATE INDEX "push_profile" ON "push" ("tenant", "profile");
CREATE INDEX "push_state" ON "push" ("tenant", "state");
CREATE INDEX "push_due_at_ms" ON "push" ("due_at_ms");
CREATE INDEX "push_settled_at_ms" ON "push" ("settled_at_ms");

CREATE TABLE "redemption" (
  "tenant" text COLLATE "C" NOT NULL,
  "redemption" text COLLATE "C" NOT NULL,
  "grant" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C" NOT NULL,
  "store" text COLLATE "C" NOT NULL,
  "pos" text COLLATE "C" NOT NULL,
  "state" text COLLATE "C" NOT NULL,
  "basket_minor" bigint NOT NULL,
  "currency" text COLLATE "C" NOT NULL,
  "value_bp" bigint NOT NULL,
  "discount_minor" bigint NOT NULL,
  "t_lock_ms" bigint NOT NULL,
  "at_ms" bigint NOT NULL,
  "reversed_at_ms" bigint,
  PRIMARY KEY ("tenant", "redemption")
);
CREATE UNIQUE INDEX "redemption_grant_unique" ON "redemption" ("tenant", "grant");
CREATE INDEX "redemption_profile" ON "redemption" ("tenant", "profile");
CREATE INDEX "redemption_at_ms" ON "redemption" ("at_ms");

CREATE TABLE "quarantine" (
  "tenant" text COLLATE "C" NOT NULL,
  "quarantine" text COLLATE "C" NOT NULL,
  "edge" text COLLATE "C" NOT NULL,
  "boot" text COLLATE "C" NOT NULL,
  "seq" bigint NOT NULL,
  "fault" text COLLATE "C" NOT NULL,
  "reason" text COLLATE "C" NOT NULL,
  "body" text COLLATE "C" NOT NULL,
  "at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "quarantine")
);
CREATE INDEX "quarantine_at_ms" ON "quarantine" ("at_ms");

CREATE TABLE "loss" (
  "tenant" text COLLATE "C" NOT NULL,
  "edge" text COLLATE "C" NOT NULL,
  "boot" text COLLATE "C" NOT NULL,
  "first_seq" bigint NOT NULL,
  "seq" bigint NOT NULL,
  "samples" bigint NOT NULL,
  "enters" bigint NOT NULL,
  "exits" bigint NOT NULL,
  "reason" text COLLATE "C" NOT NULL,
  "at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "edge", "boot", "first_seq")
);
CREATE INDEX "loss_at_ms" ON "loss" ("at_ms");

CREATE TABLE "api_key" (
  "tenant" text COLLATE "C" NOT NULL,
  "key" text COLLATE "C" NOT NULL,
  "scope" text COLLATE "C" NOT NULL,
  "secret_sha256" text COLLATE "C" NOT NULL,
  "label" text COLLATE "C" NOT NULL,
  "profile" text COLLATE "C",
  "device" text COLLATE "C",
  "store" text COLLATE "C",
  "created_at_ms" bigint NOT NULL,
  "expires_at_ms" bigint,
  "revoked_at_ms" bigint,
  PRIMARY KEY ("tenant", "key")
);
CREATE INDEX "api_key_profile" ON "api_key" ("tenant", "profile");
CREATE INDEX "api_key_revoked_at_ms" ON "api_key" ("revoked_at_ms");

CREATE TABLE "reply" (
  "tenant" text COLLATE "C" NOT NULL,
  "caller" text COLLATE "C" NOT NULL,
  "idempotency" text COLLATE "C" NOT NULL,
  "request_sha256" text COLLATE "C" NOT NULL,
  "status" bigint NOT NULL,
  "body" jsonb NOT NULL,
  "at_ms" bigint NOT NULL,
  PRIMARY KEY ("tenant", "caller", "idempotency")
);
CREATE INDEX "reply_at_ms" ON "reply" ("at_ms");
