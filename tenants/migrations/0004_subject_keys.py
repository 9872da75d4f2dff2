import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0003_leases'),
    ]

    operations = [
        migrations.CreateModel(
            name='SubjectKey',
            fields=[
                ('pk', models.CompositePrimaryKey('owner', 'subject', blank=True, editable=False, primary_key=True, serialize=False)),
                ('owner', models.CharField(max_length=36)),
                ('subject', models.CharField(max_length=32)),
                ('encrypted_key', models.BinaryField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name='Erasure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('owner', models.CharField(max_length=36)),
                ('subject', models.CharField(max_length=32, verbose_name='person (digest)')),
                ('erased_by', models.CharField(max_length=260)),
                ('erased_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('finished_at', models.DateTimeField(null=True)),
            ],
            options={
                'verbose_name': 'erased person',
                'ordering': ['-erased_at', '-id'],
                'constraints': [models.UniqueConstraint(fields=('owner', 'subject'), name='erasure_once')],
            },
        ),
    ]
