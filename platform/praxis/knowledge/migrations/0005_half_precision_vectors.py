import pgvector.django.halfvec
import pgvector.django.indexes
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('knowledge', '0004_columns_that_nothing_used'),
    ]

    operations = [
        migrations.RemoveIndex(model_name='chunk', name='chunk_nearest'),
        migrations.AlterField(
            model_name='chunk',
            name='embedding',
            field=pgvector.django.halfvec.HalfVectorField(dimensions=384),
        ),
        # A chunk's row is often longer than 2 kB, and pgvector's types go out of line first; then
        # every comparison of a scan would fetch its vector by a look-up. The text may go instead.
        migrations.RunSQL("ALTER TABLE knowledge_chunk ALTER COLUMN embedding SET STORAGE PLAIN", migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name='chunk',
            index=pgvector.django.indexes.HnswIndex(ef_construction=64, fields=['embedding'], m=16, name='chunk_nearest', opclasses=['halfvec_cosine_ops']),
        ),
    ]
