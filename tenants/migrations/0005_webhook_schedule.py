import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0004_subject_keys'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookSchedule',
            fields=[
                ('tenant', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='webhook_schedule', serialize=False, to='tenants.tenant')),
                ('due_at', models.DateTimeField(db_index=True)),
            ],
        ),
    ]
