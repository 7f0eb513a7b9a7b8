DROP TABLE renewals;
