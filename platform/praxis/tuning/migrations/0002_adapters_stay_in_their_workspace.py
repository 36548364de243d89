from django.db import migrations


class Migration(migrations.Migration):
    """An assistant's adapter belongs to the assistant's workspace: the database refuses others."""

    dependencies = [
        ("assistants", "0001_assistant_settings"),
        ("tuning", "0001_data_sets_runs_and_adapters"),
    ]

    operations = [
        migrations.RunSQL(
            sql="""
                ALTER TABLE assistants_assistantsettings
                ADD CONSTRAINT adapter_of_the_same_workspace
                FOREIGN KEY (workspace_id, adapter_id)
                REFERENCES tuning_adapter (workspace_id, id)
                DEFERRABLE INITIALLY DEFERRED
            """,
            reverse_sql="""
                ALTER TABLE assistants_assistantsettings
                DROP CONSTRAINT adapter_of_the_same_workspace
            """,
        )
    ]
