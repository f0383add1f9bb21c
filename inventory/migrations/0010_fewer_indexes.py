"""One index where two did the same work, and UUIDs from the server itself where it makes them (PostgreSQL 18)."""

import django.db.models.deletion
from django.db import migrations, models

SQL_FUNCTION = "CREATE OR REPLACE FUNCTION keyreeve_uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS"
BY_HAND = """
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
    FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
"""


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0009_what_was_sent'),
    ]

    operations = [
        migrations.RunSQL(
            f"""
            DO $$ BEGIN
              IF current_setting('server_version_num')::integer >= 180000 THEN
                {SQL_FUNCTION} 'SELECT uuidv7()';
              END IF;
            END $$;
            """,
            f"{SQL_FUNCTION} $${BY_HAND}$$;",
        ),
        migrations.AlterField(
            model_name='credential',
            name='identity_key',
            field=models.TextField(editable=False),
        ),
        migrations.AlterField(
            model_name='credential',
            name='owner',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='inventory.owner'),
        ),
        migrations.AlterField(
            model_name='credentialversion',
            name='credential',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.credential'),
        ),
        migrations.AlterField(
            model_name='exposure',
            name='credential',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.credential'),
        ),
        migrations.AlterField(
            model_name='mcpclient',
            name='identity_key',
            field=models.TextField(editable=False),
        ),
        migrations.AlterField(
            model_name='mcpserver',
            name='identity_key',
            field=models.TextField(editable=False),
        ),
        migrations.AddConstraint(
            model_name='credential',
            constraint=models.UniqueConstraint(fields=('identity_key',), name='credential_identity_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='mcpclient',
            constraint=models.UniqueConstraint(fields=('identity_key',), name='client_identity_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='mcpserver',
            constraint=models.UniqueConstraint(fields=('identity_key',), name='server_identity_is_unique'),
        ),
    ]
