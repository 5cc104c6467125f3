import Foundation
import TextTable

/// A table as the core's commands print it.
func text<Row>(_ rows: [Row], _ columns: @escaping (Row) -> [Column]) -> String {
  (TextTable<Row>(columns).string(for: rows) ?? "").trimmingCharacters(in: .newlines)
}
