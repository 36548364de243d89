import django.db.models.deletion
import pgvector.django.sparsevec
from django.conf import settings
from django.db import migrations, models

# Words become places of a sparse vector by a hash that doesn't depend on PostgreSQL's version.
TERM = """
CREATE FUNCTION knowledge_term(lexeme text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT ('x' || left(md5(lexeme), 7))::bit(28)::integer + 1 $$
"""
# Okapi BM25 (Robertson and Zaragoza, 2009) with k1 = 1.2 and b = 0.75. The average length is fixed,
# because a chunk's row must not change when others are added; chunks are cut to about one size.
IMPACTS = """
CREATE FUNCTION knowledge_impacts(search tsvector) RETURNS sparsevec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT ('{' || coalesce(string_agg(
        term || ':' || (times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / 80)))::real, ','
    ), '') || '}/268435456')::sparsevec
    FROM (
        SELECT term, sum(times)::float8 AS times, sum(sum(times)) OVER () AS length
        FROM (
            SELECT knowledge_term(lexeme) AS term, coalesce(cardinality(positions), 1) AS times
            FROM unnest(search)
        ) word
        GROUP BY term
    ) counted
$$
"""
COUNT_TERMS = """
CREATE FUNCTION knowledge_count_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO knowledge_termcount (workspace_id, term, num_chunks)
        SELECT workspace_id, term, count(*) FROM (
            SELECT workspace_id, 0 AS term FROM added
            UNION ALL
            SELECT workspace_id, knowledge_term(unnest(tsvector_to_array(search))) FROM added
        ) word GROUP BY workspace_id, term;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO knowledge_termcount (workspace_id, term, num_chunks)
        SELECT workspace_id, term, -count(*) FROM (
            SELECT workspace_id, 0 AS term FROM removed
            UNION ALL
            SELECT workspace_id, knowledge_term(unnest(tsvector_to_array(search))) FROM removed
        ) word GROUP BY workspace_id, term;
    END IF;
    RETURN NULL;
END $$
"""
TRIGGERS = """
CREATE TRIGGER count_added_terms AFTER INSERT ON knowledge_chunk
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION knowledge_count_terms();
CREATE TRIGGER count_removed_terms AFTER DELETE ON knowledge_chunk
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION knowledge_count_terms();
CREATE TRIGGER count_changed_terms AFTER UPDATE ON knowledge_chunk
    REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION knowledge_count_terms();
"""
DROP_TRIGGERS = """
DROP TRIGGER count_added_terms ON knowledge_chunk;
DROP TRIGGER count_removed_terms ON knowledge_chunk;
DROP TRIGGER count_changed_terms ON knowledge_chunk;
"""
COUNT_WHAT_IS_THERE = """
INSERT INTO knowledge_termcount (workspace_id, term, num_chunks)
SELECT workspace_id, term, count(*) FROM (
    SELECT workspace_id, 0 AS term FROM knowledge_chunk
    UNION ALL
    SELECT workspace_id, knowledge_term(unnest(tsvector_to_array(search))) FROM knowledge_chunk
) word GROUP BY workspace_id, term
"""


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_people_and_workspaces'),
        ('knowledge', '0002_access_metadata_and_parents'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(TERM, "DROP FUNCTION knowledge_term(text)"),
        migrations.RunSQL(IMPACTS, "DROP FUNCTION knowledge_impacts(tsvector)"),
        migrations.AddField(
            model_name='chunk',
            name='terms',
            field=models.GeneratedField(db_persist=True, expression=models.Func(models.F('search'), function='knowledge_impacts'), output_field=pgvector.django.sparsevec.SparseVectorField(dimensions=268435456)),
        ),
        # Beside the other columns of the row instead of in a second table: it is read for each
        # chunk that holds a rare word of the question.
        migrations.RunSQL("ALTER TABLE knowledge_chunk ALTER COLUMN terms SET STORAGE MAIN", migrations.RunSQL.noop),
        migrations.CreateModel(
            name='TermCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('term', models.IntegerField()),
                ('num_chunks', models.IntegerField()),
                ('workspace', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'indexes': [models.Index(fields=['workspace', 'term'], include=['num_chunks'], name='count_of_term')],
            },
        ),
        migrations.RunSQL(COUNT_TERMS, "DROP FUNCTION knowledge_count_terms()"),
        migrations.RunSQL(TRIGGERS, DROP_TRIGGERS),
        migrations.RunSQL(COUNT_WHAT_IS_THERE, migrations.RunSQL.noop),
        migrations.CreateModel(
            name='SearchProfile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('values', models.JSONField()),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('corpus', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='search_profile', to='knowledge.corpus')),
                ('updated_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='search_profiles', to='accounts.workspace')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('corpus', None)), fields=('workspace',), name='workspace_search_profile_once')],
            },
        ),
    ]
