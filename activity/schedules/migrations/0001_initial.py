import django.db.models.functions.datetime
import tenants.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', models.UUIDField(default=tenants.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('kind', models.CharField(max_length=100)),
                ('params', models.JSONField(default=dict)),
                ('every', models.CharField(choices=[('hour', 'Hour'), ('day', 'Day'), ('week', 'Week'), ('month', 'Month')], max_length=10)),
                ('minute', models.PositiveSmallIntegerField(null=True)),
                ('at', models.TimeField(null=True)),
                ('weekday', models.PositiveSmallIntegerField(null=True)),
                ('day', models.PositiveSmallIntegerField(null=True)),
                ('time_zone', models.CharField(blank=True, max_length=64)),
                ('planned_in', models.CharField(blank=True, max_length=64)),
                ('actor', models.JSONField()),
                ('is_paused', models.BooleanField(default=False)),
                ('paused_reason', models.CharField(blank=True, max_length=500)),
                ('next_at', models.DateTimeField(null=True)),
                ('last_job_id', models.UUIDField(null=True)),
                ('last_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'indexes': [models.Index(fields=['created_at', 'id'], name='schedule_created')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('is_paused', True), ('next_at__isnull', True)), models.Q(('is_paused', False), ('next_at__isnull', False)), _connector='OR'), name='schedule_due_unless_paused')],
            },
        ),
    ]
