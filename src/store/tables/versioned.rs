//! The queries that all three tables of the inventory have. A macro, since diesel's type bounds
//! would make a generic function longer than what it saves.

/// How many rows one statement inserts; PostgreSQL takes at most 65,535 parameters, SQLite 32,766.
pub(in crate::store) const ROWS_PER_INSERT: usize = 2_000;
/// The same for a table of more than 16 columns.
pub(in crate::store) const WIDE_ROWS_PER_INSERT: usize = 1_000;

/// The methods of [`crate::store::tx::Tx`] for one table of versioned rows.
macro_rules! versioned_table {
    (
        table: $table:ident, name: $name:literal, domain: $domain:ty,
        insert: $insert:ident, find: $find:ident, list: $list:ident, supersede: $supersede:ident,
        touching: $touching:ident, versions: $versions:ident,
        $(visible: $visible:expr,)?
        $(after_insert: $after_insert:ident,)?
        $(after_removal: $after_removal:ident,)?
    ) => {
        impl Tx<'_> {
            /// Inserts these versions.
            pub fn $insert(&mut self, items: &[$domain]) -> Result<(), StoreError> {
                for chunk in items.chunks($crate::store::tables::versioned::WIDE_ROWS_PER_INSERT) {
                    let rows: Vec<Row> = chunk.iter().map(Row::from).collect();
                    self.run(|connection| {
                        on_either!(connection, c => diesel::insert_into($table::table).values(&rows).execute(c))
                    })?;
                }
                $(self.$after_insert(items)?;)?
                Ok(())
            }

            /// The newest version of one row, even if it was cancelled.
            pub fn $find(&mut self, id: Uuid) -> Result<Option<$domain>, StoreError> {
                let row = self.run(|connection| {
                    on_either!(connection, c => $table::table
                        .filter($table::id.eq(id.to_string()))
                        $(.filter($visible))?
                        .order($table::version.desc())
                        .first::<Row>(c)
                        .optional())
                })?;
                row.map(TryInto::try_into).transpose()
            }

            /// All versions of these rows, ordered by id and version.
            pub fn $versions(&mut self, ids: &[Uuid]) -> Result<Vec<$domain>, StoreError> {
                let mut found: Vec<$domain> = Vec::with_capacity(ids.len());
                for chunk in ids.chunks($crate::store::tables::imports::IDS_PER_STATEMENT) {
                    let ids: Vec<String> = chunk.iter().map(ToString::to_string).collect();
                    let rows = self.run(|connection| {
                        on_either!(connection, c => $table::table
                            .filter($table::id.eq_any(&ids))
                            .load::<Row>(c))
                    })?;
                    for row in rows {
                        found.push(row.try_into()?);
                    }
                }
                found.sort_unstable_by_key(|item| item.row);
                Ok(found)
            }

            /// A page of the newest versions, ordered by id.
            pub fn $list(&mut self, page: &Page) -> Result<PageOf<$domain>, StoreError> {
                let rows = self.run(|connection| {
                    on_either!(connection, c => $table::table
                        .filter($table::superseded_at.is_null())
                        $(.filter($visible))?
                        .filter($table::id.gt(page.after()))
                        .order($table::id)
                        .limit(page.fetch())
                        .load::<Row>(c))
                })?;
                page.of(rows, |row| row.id.clone())
            }

            /// Marks the newest version of a row as superseded, and inserts its successor, if there
            /// is one.
            pub fn $supersede(&mut self, id: Uuid, at: Time, by: Option<&$domain>) -> Result<(), StoreError> {
                self.run(|connection| {
                    on_either!(connection, c => diesel::update($table::table
                        .filter($table::id.eq(id.to_string()))
                        .filter($table::superseded_at.is_null()))
                        .set($table::superseded_at.eq(at.timestamp()))
                        .execute(c))
                })?;
                $(if by.is_none() {
                    self.$after_removal(&[id], at)?;
                })?
                self.$insert(by.map(std::slice::from_ref).unwrap_or_default())
            }

            /// The rows that overlap any of these numbers, at most `limit` of them.
            pub fn $touching(
                &mut self,
                numbers: &[NumberRange],
                versions: Versions,
                limit: usize,
            ) -> Result<Vec<$domain>, StoreError> {
                let query = OverlapQuery::<$table::table>::new($name, RangeProbes::of(numbers), versions, limit);
                let found = self.run(|connection| on_either!(connection, c => query.load::<(i32, Row)>(c)))?;
                let mut items = found
                    .into_iter()
                    .map(|(_, row)| row.try_into())
                    .collect::<Result<Vec<$domain>, _>>()?;
                // The query has no order; sort, so that equal data give equal answers.
                items.sort_unstable_by_key(|item| item.row);
                Ok(items)
            }
        }
    };
}
pub(in crate::store) use versioned_table;
