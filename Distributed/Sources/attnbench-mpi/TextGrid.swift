import AttentionBench
import Foundation

/// Rows of text: a table for people, and a file for programs.
struct TextGrid {
  let columns: [String]
  private(set) var rows: [[String]] = []

  init(_ columns: [String]) { self.columns = columns }

  mutating func add(_ row: [String]) { rows.append(row) }

  /// A line with the names of the columns.
  func header(_ widths: [Int]) -> String { Self.line(columns, widths) }

  /// A row as a line of the table.
  static func line(_ fields: [String], _ widths: [Int]) -> String {
    zip(fields, widths).map { field, width in
      field + String(repeating: " ", count: max(width - field.count, 0))
    }.joined(separator: "  ")
  }

  /// Widths that all fields have room in.
  var widths: [Int] {
    columns.indices.map { column in
      (rows.map { $0[column].count } + [columns[column].count]).max() ?? 0
    }
  }

  /// Replaces a file by all rows there are, at once: what stood there stays until then.
  ///
  /// - Throws: `PlanError` when the file cannot be written.
  func write(to path: String) throws {
    let lines = ([columns] + rows).map { row in
      row.map { field in
        field.contains(where: { ",\"\n".contains($0) })
          ? "\"" + field.replacingOccurrences(of: "\"", with: "\"\"") + "\"" : field
      }.joined(separator: ",")
    }
    do {
      try Data((lines.joined(separator: "\n") + "\n").utf8).write(
        to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw PlanError(
        argument: "--output", value: path,
        rule: "cannot be written (\(error.localizedDescription))",
        fix: "name a file in a directory that exists")
    }
  }
}
