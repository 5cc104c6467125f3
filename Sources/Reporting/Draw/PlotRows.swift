import Attention
import Choosing
import Measuring
import Records
import Statistics
import Units

/// The rows of a sweep as curves: one for each strategy, thread count and shape.
struct PlotRows {
  /// The rows of one curve.
  struct Series {
    /// The strategy's registered name.
    let name: String
    /// The same, with its parameters where they tell curves apart.
    let strategy: String
    let classification: String
    /// The shape without its lengths, threads and binding.
    let setting: CurveSetting
    var threads: Int { setting.placement.threads }
    /// What tells this shape from the others of the sweep; empty when there is only one.
    let shape: String
    /// Measured rows, rising in n.
    let measured: [ResultRow]
    /// The other rows, rising in n.
    let missing: [ResultRow]
  }

  /// In legend order: exact before restricted before other operators, `full` first.
  let series: [Series]
  /// The strategies in that order, which fixes their colours.
  let strategies: [String]
  /// The thread counts, the highest first.
  let threads: [Int]

  /// Whether the sizes are numbers of keys that few queries read: decoding.
  let isDecoding: Bool

  private let rows: [ResultRow]

  init(_ all: [ResultRow]) {
    // A cell that was run again after an interruption has two rows, and the later one counts.
    var latest: [Identity: ResultRow] = [:]
    for row in all { latest[Identity(row)] = row.judgedByError }
    let rows = latest.values.sorted { ($0.n, $0.cellID) < ($1.n, $1.cellID) }
    let names = StrategyNames(rows)
    let parts = Self.shapeParts(rows)
    let varying = parts.map(\.isCommon).indices.filter { !parts[$0].isCommon }

    var grouped: [Key: [ResultRow]] = [:]
    for row in rows {
      let shape = varying.map { parts[$0].text(row.shape) }.joined(separator: ", ")
      let key = Key(
        name: row.strategy.name, strategy: names.name(of: row),
        classification: row.strategy.classification, setting: CurveSetting(row), shape: shape)
      grouped[key, default: []].append(row)
    }
    series = grouped.map { key, rows in
      Series(
        name: key.name, strategy: key.strategy, classification: key.classification,
        setting: key.setting, shape: key.shape, measured: rows.filter(\.status.isMeasured),
        missing: rows.filter { !$0.status.isMeasured })
    }.sorted { Self.legendOrder($0) < Self.legendOrder($1) }
    strategies = series.reduce(into: []) { names, next in
      if !names.contains(next.strategy) { names.append(next.strategy) }
    }
    threads = Set(rows.map(\.placement.threads)).sorted(by: >)
    isDecoding = rows.isDecoding
    self.rows = rows
  }

  /// What all rows have in common, for the subtitle.
  var commonText: [String] {
    guard let first = rows.first else { return [] }
    let isas = Set(rows.map(\.build.isa))
    let shape = Self.shapeParts(rows).filter(\.isCommon).map { $0.text(first.shape) }
    let queries = first.shape.queryLength
    let step = isDecoding ? ["\(queries) \(queries == 1 ? "query" : "queries")"] : []
    return (isas.count == 1 ? [first.build.isa] : []) + step + shape
      + (threads.count == 1 ? [Self.threadText(first.placement.threads)] : [])
  }

  /// The name of a series in the legend.
  func label(_ series: Series) -> String { curveLabel(series).text }

  /// The same with its parts.
  func curveLabel(_ series: Series) -> CurveLabel {
    let placement = series.setting.placement
    let bindings = Set(
      self.series.filter { $0.threads == series.threads }.map(\.setting.placement.bind))
    let variation = [
      threads.count > 1 ? Self.threadText(placement.threads) : "",
      bindings.count > 1 ? placement.bind : "", series.shape,
    ]
    return CurveLabel(
      strategy: series.strategy, classification: series.classification, setting: series.setting,
      variation: variation.filter { !$0.isEmpty }.joined(separator: ", "))
  }

  /// The look of a series: colour and shape by strategy, dashes by thread count.
  func style(_ series: Series) -> CurveStyle {
    CurveStyle(
      strategy: strategies.firstIndex(of: series.strategy) ?? 0,
      variant: threads.firstIndex(of: series.threads) ?? 0)
  }

  /// What the sizes are: rows of a square problem, or keys that few queries read.
  var sizeLabel: String {
    isDecoding ? "keys in the cache" : "sequence length n"
  }

  static func threadText(_ count: Int) -> String { count == 1 ? "1 thread" : "\(count) threads" }
}

extension [ResultRow] {
  /// Whether the rows are of a sweep over numbers of keys, read by the same few queries.
  public var isDecoding: Bool {
    guard let first else { return false }
    return contains { $0.shape.queryLength < $0.shape.keyLength }
      && allSatisfy {
        $0.n == $0.shape.keyLength && $0.shape.queryLength == first.shape.queryLength
      }
  }
}

extension PlotRows {
  private struct Identity: Hashable {
    let strategy: ResultRow.StrategyLabel
    let shape: ResultRow.Shape
    let placement: ResultRow.Placement

    init(_ row: ResultRow) {
      strategy = row.strategy
      shape = row.shape
      placement = row.placement
    }
  }

  private struct Key: Hashable {
    let name: String
    let strategy: String
    let classification: String
    let setting: CurveSetting
    let shape: String
  }

  /// A part of the shape, and whether all rows share it.
  private struct ShapePart {
    let isCommon: Bool
    let text: (ResultRow.Shape) -> String
  }

  private static func shapeParts(_ rows: [ResultRow]) -> [ShapePart] {
    let texts: [(ResultRow.Shape) -> String] = [
      { "batch \($0.batch)" },
      { $0.heads == $0.kvHeads ? "\($0.heads) heads" : "\($0.heads) heads on \($0.kvHeads)" },
      {
        $0.headDimension == $0.valueDimension
          ? "d = \($0.headDimension)" : "d = \($0.headDimension), dV = \($0.valueDimension)"
      },
      { $0.elementType },
      { $0.isCausal ? "causal" : "not causal" },
    ]
    return texts.map { text in
      ShapePart(isCommon: Set(rows.map { text($0.shape) }).count <= 1, text: text)
    }
  }

  private static func legendOrder(_ series: Series) -> (Int, Int, String, Int, String, String) {
    (
      ClassHeading(series.classification).order,
      series.name == StrategyRegistry.standard.exactNames.first ? 0 : 1,
      series.strategy, -series.threads, series.shape, series.setting.placement.bind
    )
  }
}

/// The name of a strategy's curve.
///
/// A strategy whose parameters follow from n is one curve, `strided`. One that was run with
/// several parameters at the same n is several, `window(256)` and `window(512)`.
private struct StrategyNames {
  private let severalAtOneSize: Set<String>
  private let parameters: [String: Set<String>]

  init(_ rows: [ResultRow]) {
    var parameters: [String: Set<String>] = [:]
    var atOneSize: [[String]: Set<String>] = [:]
    for row in rows {
      let name = row.strategy.name
      parameters[name, default: []].insert(row.strategy.parameters)
      let size = "\(row.shape) \(row.placement.threads)"
      atOneSize[[name, size], default: []].insert(row.strategy.parameters)
    }
    self.parameters = parameters
    severalAtOneSize = Set(atOneSize.filter { $0.value.count > 1 }.map { $0.key[0] })
  }

  func name(of row: ResultRow) -> String {
    let (name, text) = (row.strategy.name, row.strategy.parameters)
    let isFixed = parameters[name]?.count == 1 || severalAtOneSize.contains(name)
    guard isFixed, !text.isEmpty, !name.contains("(") else { return name }
    return text.hasPrefix(name) ? text : "\(name)(\(text))"
  }
}

/// The three classes of strategies as a legend shows them.
struct ClassHeading {
  let text: String
  let order: Int

  init(_ classification: String) {
    switch classification {
    case "exact": (text, order) = ("exact", 0)
    case let name where name.hasPrefix("restricted"): (text, order) = ("restricted softmax", 1)
    case let name where name.hasPrefix("different"): (text, order) = ("different operator", 2)
    default: (text, order) = (classification, 3)
    }
  }
}
