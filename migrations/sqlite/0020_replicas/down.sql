DROP TABLE compatible_migrations;
DROP TABLE replicas;
