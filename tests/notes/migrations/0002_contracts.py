import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notes", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Contract",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=2000)),
                ("amount", models.IntegerField(default=0)),
                ("due", models.DateField(blank=True, null=True)),
                ("iban", models.CharField(blank=True, max_length=40)),
                ("api_token", models.CharField(blank=True, max_length=40)),
                ("terms", models.JSONField(default=dict)),
                ("views", models.IntegerField(default=0)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                (
                    "note",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to="notes.note"
                    ),
                ),
            ],
            options={"abstract": False, "base_manager_name": "objects"},
        ),
        migrations.CreateModel(
            name="Clause",
            fields=[
                ("number", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("text", models.TextField(blank=True)),
                (
                    "contract",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="clauses", to="notes.contract"
                    ),
                ),
            ],
            options={"abstract": False, "base_manager_name": "objects"},
        ),
        migrations.CreateModel(
            name="Binder",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
        ),
        migrations.CreateModel(
            name="Sheet",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "binder",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="notes.binder"
                    ),
                ),
            ],
            options={"abstract": False, "base_manager_name": "objects"},
        ),
    ]
