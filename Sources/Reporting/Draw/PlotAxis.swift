import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// Ranges and tick marks.
enum PlotAxis {
  /// Room left and right of the data, as a factor.
  static let margin = 1.12

  /// The vertical range that holds every point and its interval.
  static func range(_ figure: Figure) -> ClosedRange<Double> {
    let points = figure.curves.flatMap { $0.points + $0.predicted }
    let fixed = figure.guides.filter { $0.power == 0 }.map(\.factor)
    let low = (points.map(\.low) + fixed).min() ?? 1
    let high = (points.map(\.high) + fixed).max() ?? 1
    // The top is the peak. A value beyond it is a fault to be seen, not to be cut off.
    guard figure.yAxis.isLogarithmic else { return 0...max(100, high) }
    let room = figure.guides.contains { $0.power > 0 } ? 2.5 : 1.4
    let positive = low > 0 ? low : high / 10
    if figure.yAxis == .error {
      // Whole decades: rounding errors alone would not reach a single tick.
      let top = Double.pow(10, Double.log10(high * 1.2).rounded(.up))
      if let edge = figure.edge { return edge.value / 2.5...max(top, 10 * edge.value) }
      return Double.pow(10, Double.log10(positive / 1.2).rounded(.down))...top
    }
    return positive / room...high * room
  }

  /// `set ytics` and what belongs to it.
  static func yTicks(_ figure: Figure, range: ClosedRange<Double>) -> [String] {
    if let edge = figure.edge { return [list("y", errorTicks(range, edge: edge))] }
    switch figure.yAxis {
    case .seconds: return ["set format y '%.0s %cs'", "set ytics 10", "set mytics 10"]
    case .percent: return ["set format y '%g%%'", "set ytics 0,20", "set mytics 2"]
    case .error: return ["set format y '%.0e'", "set ytics 10", "set mytics 1"]
    case .ratio: return [list("y", ratioTicks(range))]
    case .gigaflops: return [list("y", plainTicks(range))]
    case .bytes: return [list("y", byteTicks(range))]
    }
  }

  /// Powers of ten, and the edge in the place of the lowest.
  static func errorTicks(
    _ range: ClosedRange<Double>, edge: Figure.Edge?
  ) -> [(String, Double)] {
    let first = Int(Double.log10(range.lowerBound).rounded(.up))
    let last = Int((Double.log10(range.upperBound) + 1e-9).rounded(.down))
    guard first <= last else { return [] }
    let decades = (first...last).map { ("1e\($0)", Double.pow(10, Double($0))) }
    guard let edge else { return decades }
    return [(edge.tick, edge.value)] + decades.filter { $0.1 > 2 * edge.value }
  }

  /// 1, 2 and 5 of every decade.
  static func ratioTicks(_ range: ClosedRange<Double>) -> [(String, Double)] {
    let decades = (-6...9).flatMap { decade in
      [1.0, 2, 5].map { $0 * Double.pow(10, Double(decade)) }
    }
    return decades.filter { range.contains($0) }.map { (ratioText($0), $0) }
  }

  /// The same without a unit.
  static func plainTicks(_ range: ClosedRange<Double>) -> [(String, Double)] {
    ratioTicks(range).map { (String($0.0.dropLast()), $0.1) }
  }

  /// Powers of two, as many as are readable.
  static func byteTicks(_ range: ClosedRange<Double>) -> [(String, Double)] {
    let octaves = Double.log2(range.upperBound / range.lowerBound)
    let step = octaves > 24 ? 5 : octaves > 10 ? 2 : 1
    return stride(from: 0, through: 50, by: step).map { 1 << $0 }
      .filter { range.contains(Double($0)) }.map { (byteText($0), Double($0)) }
  }

  /// The horizontal range: all points and a little room.
  static func xRange(_ figure: Figure) -> ClosedRange<Double> {
    let places = figure.curves.flatMap { ($0.points + $0.predicted).map(\.x) }
    let room = figure.xAxis == .size ? margin : 1.6
    return (places.min() ?? 1) / room...(places.max() ?? 1) * room
  }

  /// `set xtics` and what belongs to it.
  static func xTicks(_ figure: Figure) -> [String] {
    switch figure.xAxis {
    case .size: figure.sizes.isEmpty ? [] : [list("x", labelledSizes(figure.sizes, gap: 0.07))]
    case .seconds: ["set format x '%.0s %cs'", "set xtics 10", "set mxtics 10"]
    case .intensity: [list("x", plainTicks(xRange(figure)))]
    }
  }

  /// The sizes with their names; those that would overlap have none.
  ///
  /// - Parameter gap: the least distance of two names, as a share of the axis.
  static func labelledSizes(_ sizes: [Int], gap: Double) -> [(String, Double)] {
    guard let first = sizes.first, let last = sizes.last else { return [] }
    let width = Double.log(Double(last) / Double(first))
    var labelled = -Double.infinity
    return sizes.map { size in
      let position = width > 0 ? Double.log(Double(size) / Double(first)) / width : 0
      // Both ends always keep theirs.
      let hasRoom = position - labelled >= gap && (size == last || 1 - position >= gap)
      let isLabelled = hasRoom || size == last
      if isLabelled { labelled = position }
      return (isLabelled ? SizeText.short(size) : "", Double(size))
    }
  }

  private static func list(_ axis: String, _ ticks: [(String, Double)]) -> String {
    let items = ticks.map { "\(PlotText.quoted($0.0)) \($0.1)" }
    return "set \(axis)tics (\(items.joined(separator: ", ")))"
  }

  private static func ratioText(_ value: Double) -> String {
    value >= 1 ? "\(Int(value.rounded()))×" : "\((value * 1e6).rounded() / 1e6)×"
  }

  private static func byteText(_ bytes: Int) -> String {
    let text = ByteCount(bytes).description
    guard let unit = text.firstIndex(where: \.isLetter) else { return text }
    return text[..<unit] + " " + text[unit...]
  }
}
