"""The previous entry by its number, and heads and keys that only ever grow.

Reading the last entry afresh for each row walks over everything that was rolled back since the last vacuum: after an
action of 50 000 entries that failed, the next ones were thirty times slower. Where the number is, is only a hint: two
entries of one number cannot be, and a number that is not there is looked for as before.
"""

from django.db import migrations

BEGIN = """
CREATE OR REPLACE FUNCTION audit_entry_begin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- One writer at a time, from here to the end of its transaction.
  PERFORM pg_advisory_xact_lock(hashtextextended('keyreeve audit chain', 0));
  PERFORM set_config('keyreeve.last_entry', coalesce((SELECT max(seq) FROM audit_auditentry), 0)::text, true);
  RETURN NULL;
END $$;
"""
SEAL = """
CREATE OR REPLACE FUNCTION audit_entry_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  last_seq bigint := current_setting('keyreeve.last_entry', true)::bigint;
  last_hash bytea;
BEGIN
  SELECT hash INTO last_hash FROM audit_auditentry WHERE seq = last_seq;
  IF NOT FOUND THEN
    SELECT seq, hash INTO last_seq, last_hash FROM audit_auditentry ORDER BY seq DESC LIMIT 1;
  END IF;
  NEW.seq := coalesce(last_seq, 0) + 1;
  NEW.at := clock_timestamp();
  NEW.text := json_build_object(
    'seq', NEW.seq,
    'at', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'event', NEW.event,
    'actor_kind', NEW.actor_kind, 'actor_id', NEW.actor_id, 'actor_label', NEW.actor_label,
    'subject_kind', NEW.subject_kind, 'subject_id', NEW.subject_id, 'subject_label', NEW.subject_label,
    'detail', NEW.detail)::text;
  NEW.hash := sha256(coalesce(last_hash, decode(repeat('00', 32), 'hex')) || convert_to(NEW.text, 'UTF8'));
  PERFORM set_config('keyreeve.last_entry', NEW.seq::text, true);
  RETURN NEW;
END $$;
"""
BEGIN_BEFORE = """
CREATE OR REPLACE FUNCTION audit_entry_begin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- One writer at a time, from here to the end of its transaction.
  PERFORM pg_advisory_xact_lock(hashtextextended('keyreeve audit chain', 0));
  RETURN NULL;
END $$;
"""
SEAL_BEFORE = """
CREATE OR REPLACE FUNCTION audit_entry_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  last_seq bigint;
  last_hash bytea;
BEGIN
  SELECT seq, hash INTO last_seq, last_hash FROM audit_auditentry ORDER BY seq DESC LIMIT 1;
  NEW.seq := coalesce(last_seq, 0) + 1;
  NEW.at := clock_timestamp();
  NEW.text := json_build_object(
    'seq', NEW.seq,
    'at', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'event', NEW.event,
    'actor_kind', NEW.actor_kind, 'actor_id', NEW.actor_id, 'actor_label', NEW.actor_label,
    'subject_kind', NEW.subject_kind, 'subject_id', NEW.subject_id, 'subject_label', NEW.subject_label,
    'detail', NEW.detail)::text;
  NEW.hash := sha256(coalesce(last_hash, decode(repeat('00', 32), 'hex')) || convert_to(NEW.text, 'UTF8'));
  RETURN NEW;
END $$;
"""
GROWS = """
CREATE FUNCTION audit_head_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'chain heads and chain keys are never changed or removed'
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_head_refuse BEFORE UPDATE OR DELETE ON audit_chainhead
  FOR EACH ROW EXECUTE FUNCTION audit_head_refuse();
CREATE TRIGGER audit_head_refuse_truncate BEFORE TRUNCATE ON audit_chainhead
  FOR EACH STATEMENT EXECUTE FUNCTION audit_head_refuse();
CREATE TRIGGER audit_key_refuse BEFORE UPDATE OR DELETE ON audit_chainkey
  FOR EACH ROW EXECUTE FUNCTION audit_head_refuse();
CREATE TRIGGER audit_key_refuse_truncate BEFORE TRUNCATE ON audit_chainkey
  FOR EACH STATEMENT EXECUTE FUNCTION audit_head_refuse();
"""
GROWS_NO_MORE = """
DROP TRIGGER audit_key_refuse_truncate ON audit_chainkey;
DROP TRIGGER audit_key_refuse ON audit_chainkey;
DROP TRIGGER audit_head_refuse_truncate ON audit_chainhead;
DROP TRIGGER audit_head_refuse ON audit_chainhead;
DROP FUNCTION audit_head_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_heads")]
    operations = [
        migrations.RunSQL(BEGIN, BEGIN_BEFORE),
        migrations.RunSQL(SEAL, SEAL_BEFORE),
        migrations.RunSQL(GROWS, GROWS_NO_MORE),
    ]
