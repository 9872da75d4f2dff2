"""The tests of django.contrib.auth that fail inside a tenant, each with the reason. One that passes doesn't belong here."""

_OTHER = 'An object of the database "other" is saved or related without using=: here a tenant\'s models are written in the tenant alone.'

DEVIATIONS: dict[str, str] = {
    "auth_tests.test_management.MultiDBChangepasswordManagementCommandTestCase"
    ".test_that_changepassword_command_with_database_option_uses_given_db": _OTHER,
    "auth_tests.test_migrations.MultiDBProxyModelAppLabelTests.test_migrate_other_database": _OTHER,
    "auth_tests.test_models.LoadDataWithNaturalKeysAndMultipleDatabasesTestCase"
    ".test_load_data_with_user_permissions": _OTHER,
}
