from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_quarantine")]

    operations = [
        migrations.AddField("job", "result_removed_at", models.DateTimeField(null=True)),
    ]
