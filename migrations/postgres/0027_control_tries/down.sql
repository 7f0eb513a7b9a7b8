DROP INDEX control_proofs_tried;
