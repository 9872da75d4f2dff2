import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0008_job_worker'),
    ]

    operations = [
        migrations.CreateModel(
            name='JobSchedule',
            fields=[
                ('tenant', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='job_schedule', serialize=False, to='tenants.tenant')),
                ('due_at', models.DateTimeField(db_index=True)),
            ],
            options={
                'verbose_name': "organisation's schedules",
                'verbose_name_plural': "organisations' schedules",
                'ordering': ['due_at'],
            },
        ),
        migrations.AddField(
            model_name='tenant',
            name='time_zone',
            field=models.CharField(db_default='UTC', default='UTC', max_length=64),
        ),
    ]
