from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0006_turns'),
    ]

    operations = [
        migrations.CreateModel(
            name='SystemSchedule',
            fields=[
                ('name', models.CharField(max_length=100, primary_key=True, serialize=False)),
                ('sent_at', models.DateTimeField()),
            ],
        ),
    ]
