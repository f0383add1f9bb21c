"""The chain itself. A plain migration: triggers that a session variable can switch off would be no guard."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION audit_entry_begin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- One writer at a time, from here to the end of its transaction.
  PERFORM pg_advisory_xact_lock(hashtextextended('keyreeve audit chain', 0));
  RETURN NULL;
END $$;

CREATE FUNCTION audit_entry_seal() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE FUNCTION audit_entry_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit entries are never changed or removed' USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER audit_entry_begin BEFORE INSERT ON audit_auditentry
  FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_begin();
CREATE TRIGGER audit_entry_seal BEFORE INSERT ON audit_auditentry
  FOR EACH ROW EXECUTE FUNCTION audit_entry_seal();
CREATE TRIGGER audit_entry_refuse BEFORE UPDATE OR DELETE ON audit_auditentry
  FOR EACH ROW EXECUTE FUNCTION audit_entry_refuse();
CREATE TRIGGER audit_entry_refuse_truncate BEFORE TRUNCATE ON audit_auditentry
  FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_refuse();
"""

BACKWARD = """
DROP TRIGGER audit_entry_refuse_truncate ON audit_auditentry;
DROP TRIGGER audit_entry_refuse ON audit_auditentry;
DROP TRIGGER audit_entry_seal ON audit_auditentry;
DROP TRIGGER audit_entry_begin ON audit_auditentry;
DROP FUNCTION audit_entry_refuse();
DROP FUNCTION audit_entry_seal();
DROP FUNCTION audit_entry_begin();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
