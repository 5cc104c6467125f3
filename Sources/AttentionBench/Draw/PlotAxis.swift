import RealModule

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
    return positive / room...high * room
  }

  /// `set ytics` and what belongs to it.
  static func yTicks(_ axis: Figure.Axis, range: ClosedRange<Double>) -> [String] {
    switch axis {
    case .seconds: return ["set format y '%.0s %cs'", "set ytics 10", "set mytics 10"]
    case .percent: return ["set format y '%g%%'", "set ytics 0,20", "set mytics 2"]
    case .ratio:
      let decades = (-6...9).flatMap { decade in
        [1.0, 2, 5].map { $0 * Double.pow(10, Double(decade)) }
      }
      let inside = decades.filter { range.contains($0) }
      return [list("y", inside.map { (ratioText($0), $0) })]
    case .bytes:
      let octaves = Double.log2(range.upperBound / range.lowerBound)
      let step = octaves > 24 ? 5 : octaves > 10 ? 2 : 1
      let ticks = stride(from: 0, through: 50, by: step).map { 1 << $0 }
        .filter { range.contains(Double($0)) }
      return [list("y", ticks.map { (byteText($0), Double($0)) })]
    }
  }

  /// `set xtics` at the sizes themselves; those that would overlap lose their text.
  static func xTicks(_ sizes: [Int]) -> String {
    guard let first = sizes.first, let last = sizes.last else { return "set xtics auto" }
    let width = Double.log(Double(last) / Double(first))
    var labelled = -Double.infinity
    let ticks = sizes.map { size in
      let position = width > 0 ? Double.log(Double(size) / Double(first)) / width : 0
      // Both ends always keep theirs.
      let hasRoom = position - labelled >= 0.07 && (size == last || 1 - position >= 0.07)
      let isLabelled = hasRoom || size == last
      if isLabelled { labelled = position }
      return (isLabelled ? SizeText.short(size) : "", Double(size))
    }
    return list("x", ticks)
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
