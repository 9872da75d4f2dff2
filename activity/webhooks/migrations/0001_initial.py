import django.db.models.deletion
import django.db.models.functions.datetime
import tenants.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.UUIDField(default=tenants.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('url', models.CharField(max_length=2000)),
                ('actions', models.JSONField(default=list)),
                ('encrypted_secret', models.BinaryField()),
                ('encrypted_former_secret', models.BinaryField(null=True)),
                ('former_secret_until', models.DateTimeField(null=True)),
                ('is_active', models.BooleanField(default=True)),
                ('disabled_reason', models.CharField(blank=True, max_length=300)),
                ('failing_since', models.DateTimeField(null=True)),
                ('cursor', models.BigIntegerField(default=0)),
                ('claim', models.BigIntegerField(default=0)),
                ('claimed_until', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'indexes': [models.Index(fields=['created_at', 'id'], name='webhook_created')],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(default=tenants.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('events', 'Events'), ('test', 'Test')], default='events', max_length=10)),
                ('first_seq', models.BigIntegerField(null=True)),
                ('last_seq', models.BigIntegerField(null=True)),
                ('actions', models.JSONField(default=list)),
                ('events', models.PositiveIntegerField(default=0)),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('delivered', 'Delivered'), ('failed', 'Failed')], default='waiting', max_length=10)),
                ('is_once', models.BooleanField(default=False)),
                ('attempts_made', models.PositiveIntegerField(default=0)),
                ('next_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('ended_at', models.DateTimeField(null=True)),
                ('webhook', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='webhooks.webhook')),
            ],
            options={
                'indexes': [models.Index(fields=['webhook', 'created_at', 'id'], name='webhook_delivery_created'), models.Index(fields=['ended_at'], name='webhook_delivery_ended'), models.Index(condition=models.Q(('state', 'waiting')), fields=['next_at'], name='webhook_delivery_waiting')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('is_once', False), ('state', 'waiting')), fields=('webhook',), name='webhook_one_waiting')],
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('duration_ms', models.PositiveIntegerField()),
                ('error', models.CharField(blank=True, max_length=300)),
                ('excerpt', models.CharField(blank=True, max_length=1000)),
                ('delivery', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='webhooks.delivery')),
            ],
        ),
    ]
