from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):

    dependencies = [
        ('activity', '0003_charts'),
    ]

    operations = [
        migrations.CreateModel(
            name='IngestDay',
            fields=[
                ('day', models.DateField(primary_key=True, serialize=False)),
                ('accepted', models.BigIntegerField()),
            ],
        ),
        migrations.AlterField(
            model_name='knownevent',
            name='recorded_at',
            field=models.DateTimeField(db_default=Now()),
        ),
    ]
