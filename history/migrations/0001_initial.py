from django.db import migrations, models

# A row carries since when it stands as it does (`history_since`), which no model knows of. Whoever changes or removes
# it, by whatever statement, leaves the version before in a table of the same name in the schema `history`, with its
# end. So a new row costs nothing, and what was true at an instant is the range that holds it.
#
# Views of the same names in the schema `past` give the rows as they stood at the instant of the setting
# `keyreeve.as_of`: with that schema first in the search path every statement reads the past, whoever wrote it.
FORWARD = """
CREATE SCHEMA history;
CREATE SCHEMA past;

-- Immutable, which they are within one look and no longer: so the planner knows the instant and leaves out what is not
-- read. No plan outlives a statement here (nothing is prepared).
CREATE FUNCTION history.instant() RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT current_setting('keyreeve.as_of')::timestamptz $$;

-- Known to the day: what came later that day than the instant is told as the day alone.
CREATE FUNCTION history.by_day(seen timestamptz, until timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN seen > until THEN least(date_trunc('day', seen, 'UTC'), until) ELSE seen END $$;

-- Whether a table's versions of the instant are read in the order of an index, passing over the others: where they are
-- many. Where they are few they are looked up by their time and sorted.
CREATE FUNCTION history.walks(place text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT strpos(current_setting('keyreeve.walked'), place) > 0 $$;

-- After every statement that changed or removed rows. The statement is planned anew each time: a plan that was kept
-- from one row would walk through a million of them by nested loops.
CREATE FUNCTION history.keep() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  kept text := 'history.' || quote_ident(TG_TABLE_NAME);
  key text := quote_ident(TG_ARGV[0]);
  columns text;
  of_old text;
BEGIN
  SELECT string_agg(quote_ident(h.attname), ', ' ORDER BY h.attnum),
         string_agg('o.' || quote_ident(h.attname), ', ' ORDER BY h.attnum)
    INTO columns, of_old
    FROM pg_catalog.pg_attribute h
    JOIN pg_catalog.pg_attribute t ON t.attrelid = TG_RELID AND t.attname = h.attname AND NOT t.attisdropped
   WHERE h.attrelid = kept::regclass AND h.attnum > 0 AND NOT h.attisdropped;
  IF TG_OP = 'UPDATE' THEN
    EXECUTE format('INSERT INTO %1$s (%2$s, history_until) SELECT %3$s, n.history_since FROM was o
      JOIN became n ON n.%4$s = o.%4$s WHERE n.history_since > o.history_since', kept, columns, of_old, key);
  ELSE
    -- What came and went in one transaction, nobody saw.
    EXECUTE format('INSERT INTO %1$s (%2$s, history_until)
      SELECT %3$s, greatest(now(), o.history_since + interval ''1 microsecond'') FROM %4$s o
      WHERE o.history_since <> now()', kept, columns, of_old,
      CASE TG_OP WHEN 'DELETE' THEN 'was' ELSE TG_RELID::regclass::text END);
  END IF;
  RETURN NULL;
END $$;
"""

BACKWARD = """
DROP SCHEMA past CASCADE;
DROP SCHEMA history CASCADE;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Beginning",
            fields=[
                ("table", models.CharField(max_length=63, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(help_text="Later where older versions were forgotten.")),
            ],
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
