/// Where one strategy of a sweep overtakes another, or that it never does: a row of
/// `crossovers.csv`, as far as a page shows it.
public struct Crossing: Equatable, Sendable {
  /// What is known of the order of the two.
  public enum Outcome: String, CaseIterable, Sendable {
    /// The order changes at a size.
    case crossing
    /// It seems to change, but noise may have made it so.
    case unclear
    /// The same one is faster at every size.
    case none
    /// Neither is faster at any size as far as the samples can tell.
    case level
  }

  /// The strategy that is faster, from the crossing on or everywhere.
  public var faster = ""
  /// The other one.
  public var slower = ""
  /// Workers.
  public var threads = 1
  /// d.
  public var headDimension = 1
  /// Whether the causal mask was on.
  public var isCausal = false
  /// What is known of their order.
  public var outcome = Outcome.none
  /// The size of the crossing; nil without one.
  public var n: Double?
  /// The lower end of its interval; nil where there is none.
  public var intervalLower: Double?
  /// The upper end of its interval.
  public var intervalUpper: Double?

  /// What the pair has in common and other pairs of the sweep may not.
  var setting: String {
    "\(PlotRows.threadText(threads)), d = \(headDimension), \(isCausal ? "causal" : "not causal")"
  }

  /// The crossings that the medians of rows show: between which two neighbouring sizes the order of
  /// a pair changes for the last time. Medians alone do not tell how sure that is.
  static func between(_ rows: [ResultRow]) -> [Crossing] {
    let series = PlotRows(rows).series
    return series.indices.flatMap { first in
      series.indices.dropFirst(first + 1).compactMap { second in
        between(series[first], series[second])
      }
    }
  }

  private static func between(_ first: PlotRows.Series, _ second: PlotRows.Series) -> Crossing? {
    guard first.threads == second.threads, first.shape == second.shape else { return nil }
    let leads = first.measured.compactMap { row -> (row: ResultRow, isFirst: Bool)? in
      guard let time = row.time.median,
        let other = second.measured.first(where: { $0.shape == row.shape })?.time.median
      else { return nil }
      return (row, time < other)
    }
    guard let last = leads.last else { return nil }
    let changed = leads.lastIndex { $0.isFirst != last.isFirst }
    var crossing = Crossing()
    (crossing.faster, crossing.slower) =
      last.isFirst ? (first.strategy, second.strategy) : (second.strategy, first.strategy)
    crossing.threads = first.threads
    crossing.headDimension = last.row.shape.headDimension
    crossing.isCausal = last.row.shape.isCausal
    guard let changed else { return crossing }
    crossing.outcome = .crossing
    crossing.intervalLower = Double(leads[changed].row.n)
    crossing.intervalUpper = Double(leads[changed + 1].row.n)
    return crossing
  }
}

extension Crossing.Outcome: CSVField {
  /// The raw values.
  public static var csvExpectation: String {
    "one of " + allCases.map(\.rawValue).joined(separator: ", ")
  }
  /// Reads a raw value.
  public init?(csvText: String) { self.init(rawValue: csvText) }
  /// The raw value.
  public var csvText: String { rawValue }
}

extension Crossing: CSVRecord {
  /// The columns of `crossovers.csv` that are read; others may be there.
  public static let header = [
    "faster", "slower", "threads", "head_dim", "causal", "outcome", "n", "n_ci95_lo", "n_ci95_hi",
  ]

  /// The cells of these columns.
  public var fields: [String] {
    [
      faster, slower, threads.csvText, headDimension.csvText, isCausal.csvText, outcome.csvText,
      n.csvText, intervalLower.csvText, intervalUpper.csvText,
    ]
  }

  /// A crossing from its cells by column name.
  ///
  /// - Throws: `CSVCellError` for the first cell that holds something else than its column says.
  public init(cells: [String: String]) throws(CSVCellError) {
    func read<Field: CSVField>(_ column: String) throws(CSVCellError) -> Field {
      let text = cells[column] ?? ""
      guard let value = Field(csvText: text) else {
        throw CSVCellError(column: column, text: text, expectation: Field.csvExpectation)
      }
      return value
    }
    faster = try read("faster")
    slower = try read("slower")
    threads = try read("threads")
    headDimension = try read("head_dim")
    isCausal = try read("causal")
    outcome = try read("outcome")
    n = try read("n")
    intervalLower = try read("n_ci95_lo")
    intervalUpper = try read("n_ci95_hi")
  }
}
