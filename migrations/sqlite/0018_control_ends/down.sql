-- A proof that has ended stays so.
SELECT 1;
