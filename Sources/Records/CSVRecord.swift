import Attention
import Statistics
import Units

/// A value that is one row of a CSV file whose columns have fixed names.
public protocol CSVRecord: Sendable {
  /// The names of the columns, in file order.
  static var header: [String] { get }
  /// Those of them that files of earlier versions lack: reading does without, appending does not.
  static var laterColumns: Set<String> { get }
  /// The texts of the cells, in the same order, not yet quoted.
  var fields: [String] { get }
  /// A record from its cells by column name.
  ///
  /// - Throws: `CSVCellError` for the first cell that holds something else than its column says.
  init(cells: [String: String]) throws(CSVCellError)
}

extension CSVRecord {
  /// None.
  public static var laterColumns: Set<String> { [] }
}

/// A cell whose text does not fit its column.
public struct CSVCellError: Error, Equatable, Sendable {
  /// The column's name.
  public let column: String
  /// The text found.
  public let text: String
  /// What the column holds.
  public let expectation: String
}

extension ResultRow: CSVRecord {
  public static var laterColumns: Set<String> {
    [
      "n", "arithmetic", "pass", "ranks", "blas_pct_of_peak", "mass_kept", "top_keys_found",
      "best_mass", "gain_realised",
    ]
  }

  /// The names of `ResultColumn.all`.
  public static var header: [String] { ResultColumn.all.map(\.name) }

  /// The cells of `ResultColumn.all`.
  public var fields: [String] { ResultColumn.all.map { $0.text(self) } }

  /// A row from its cells by column name.
  ///
  /// - Throws: `CSVCellError` for the first cell that holds something else than its column says.
  public init(cells: [String: String]) throws(CSVCellError) {
    // Every field of this row is a column, so none of these values survives the loop.
    var row = ResultRow(
      runID: "", cellID: "", strategy: StrategyLabel(name: "", classification: ""),
      shape: Shape(
        batch: 0, heads: 0, kvHeads: 0, queryLength: 0, keyLength: 0, headDimension: 0,
        valueDimension: 0, elementType: "", isCausal: false),
      placement: Placement(threads: 0, bind: ""), status: .error,
      build: Build(blasCore: "", isa: ""))
    for column in ResultColumn.all {
      // Files of earlier versions lack later columns; what they imply stands in the others.
      guard let text = cells[column.name] ?? Self.implied(column.name, row) else { continue }
      guard column.store(text, &row) else {
        throw CSVCellError(column: column.name, text: text, expectation: column.expectation)
      }
    }
    row.strategy.name = StrategyRegistry.standard.currentName(of: row.strategy.name)
    self = row
  }

  /// What a file without a column says in another; nil for nothing, which leaves the default.
  private static func implied(_ column: String, _ row: ResultRow) -> String? {
    switch column {
    case "arithmetic":
      row.strategy.parameters.contains("arithmetic: bf16") ? Arithmetic.bfloat16.rawValue : nil
    case "pass", "ranks": nil
    default: ""
    }
  }
}
