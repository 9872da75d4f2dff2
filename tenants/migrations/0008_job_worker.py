from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0007_system_schedules'),
    ]

    operations = [
        migrations.AddField(
            model_name='jobsummary',
            name='worker',
            field=models.CharField(blank=True, db_default='', max_length=300),
        ),
    ]
