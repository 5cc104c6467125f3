import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// The places of a figure's values on a chart, and its tick marks.
struct ChartScale {
  /// The drawing: a width that a phone shows at nearly its own size.
  static let size = (width: 380.0, height: 270.0)
  /// The frame within it: room for tick marks at the left and below.
  static let frame = (left: 54.0, right: 370.0, top: 10.0, bottom: 226.0)

  let x: ClosedRange<Double>
  let y: ClosedRange<Double>
  private let figure: Figure

  init(_ figure: Figure) {
    self.figure = figure
    x = PlotAxis.xRange(figure)
    y = PlotAxis.range(figure)
  }

  func horizontal(_ value: Double) -> Double {
    Self.frame.left
      + (Self.frame.right - Self.frame.left) * Self.share(of: value, in: x, isLogarithmic: true)
  }

  func vertical(_ value: Double) -> Double {
    Self.frame.bottom
      - (Self.frame.bottom - Self.frame.top)
      * Self.share(of: value, in: y, isLogarithmic: figure.yAxis.isLogarithmic)
  }

  /// The marks below the frame.
  var xTicks: [(text: String, value: Double)] {
    switch figure.xAxis {
    case .size: PlotAxis.labelledSizes(figure.sizes, gap: 0.09).map { ($0.0, $0.1) }
    case .seconds: Self.timeTicks(x, atMost: 6)
    case .intensity: PlotAxis.plainTicks(x).map { ($0.0, $0.1) }
    }
  }

  /// The marks at the left of the frame.
  var yTicks: [(text: String, value: Double)] {
    switch figure.yAxis {
    case .seconds: Self.timeTicks(y, atMost: 8)
    case .percent: stride(from: 0.0, through: y.upperBound, by: 20).map { ("\(Int($0))%", $0) }
    case .ratio: PlotAxis.ratioTicks(y).map { ($0.0, $0.1) }
    case .gigaflops: PlotAxis.plainTicks(y).map { ($0.0, $0.1) }
    case .bytes: PlotAxis.byteTicks(y).map { ($0.0, $0.1) }
    case .error where figure.edge != nil:
      PlotAxis.errorTicks(y, edge: figure.edge).map { ($0.0, $0.1) }
    case .error: Self.decades(y, atMost: 8).map { ("1e\($0)", Double.pow(10, Double($0))) }
    }
  }

  /// A value of the vertical axis in words.
  func text(_ value: Double) -> String {
    switch figure.yAxis {
    case .seconds: TimeSpan.rounded(seconds: value)
    case .percent: SignificantDigits.three(value) + "%"
    case .ratio: SignificantDigits.three(value) + "×"
    case .gigaflops: SignificantDigits.three(value) + " GFLOP/s"
    case .bytes: ByteCount(Int(min(max(0, value), 1e18))).rounded
    case .error: CellText.error(value)
    }
  }

  /// A value of the horizontal axis in words.
  func horizontalText(_ value: Double) -> String {
    switch figure.xAxis {
    case .size: SizeText.short(Int(value))
    case .seconds: TimeSpan.rounded(seconds: value)
    case .intensity: SignificantDigits.three(value) + " operations a byte"
    }
  }

  private static func share(
    of value: Double, in range: ClosedRange<Double>, isLogarithmic: Bool
  ) -> Double {
    let (low, high) = (range.lowerBound, range.upperBound)
    guard low < high else { return 0.5 }
    let share =
      isLogarithmic
      ? Double.log(max(value, low) / low) / Double.log(high / low) : (value - low) / (high - low)
    return min(1, max(0, share))
  }

  /// Decades of seconds, or finer steps where there are hardly any.
  private static func timeTicks(
    _ range: ClosedRange<Double>, atMost limit: Int
  ) -> [(text: String, value: Double)] {
    let whole = decades(range, atMost: limit).map { Double.pow(10, Double($0)) }
    let values = whole.count > 1 ? whole : PlotAxis.ratioTicks(range).map(\.1)
    return values.map { value in
      for (name, unit) in [("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)] where value >= 0.999 * unit {
        return ("\(Int((value / unit).rounded())) \(name)", value)
      }
      return ("\(Int((value / 1e-9).rounded())) ns", value)
    }
  }

  /// The exponents of the powers of ten in a range, thinned to a limit.
  private static func decades(_ range: ClosedRange<Double>, atMost limit: Int) -> [Int] {
    let first = Int(Double.log10(range.lowerBound).rounded(.up))
    let last = Int(Double.log10(range.upperBound).rounded(.down))
    guard first <= last else { return [] }
    let step = (last - first) / limit + 1
    return Array(stride(from: first, through: last, by: step))
  }
}
