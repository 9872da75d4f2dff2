from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_files")]

    operations = [
        migrations.AddField("job", "rate", models.FloatField(null=True)),
        migrations.AddField("job", "unique_key", models.CharField(max_length=200, null=True)),
        migrations.AddField(
            "job",
            "after",
            models.ForeignKey(
                to="jobs.job", null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="followers"
            ),
        ),
        migrations.AddConstraint(
            "job",
            models.UniqueConstraint(
                fields=["kind", "unique_key"],
                condition=models.Q(("state__in", ("queued", "running"))),
                name="job_unique_unfinished",
            ),
        ),
        migrations.CreateModel(
            "JobLine",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=Now())),
                (
                    "level",
                    models.CharField(
                        choices=[("info", "Info"), ("warning", "Warning"), ("error", "Error")],
                        default="info",
                        max_length=10,
                    ),
                ),
                ("sentence", models.CharField(max_length=500)),
                (
                    "job",
                    models.ForeignKey(
                        to="jobs.job",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lines",
                        db_index=False,
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["job", "id"], name="job_line_job")]},
        ),
    ]
