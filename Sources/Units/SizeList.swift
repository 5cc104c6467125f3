import Attention
import RealModule

/// The sequence lengths of a sweep, in rising order and each once.
///
/// The grammar of `--n`, with sizes as `SizeText` reads them:
///
///     list  = item { "," item }
///     item  = size | size ".." size [ ":" step ]
///     step  = "per-octave=" count      geometric, count sizes a doubling; the default is 1
///           | "linear=" count          count evenly spaced sizes
///
/// Both ends of a range are always included, so `1k..100k` ends 32k, 64k, 100k.
public struct SizeList: Equatable, Sendable, CustomStringConvertible {
  /// The sizes, rising and unique; never empty.
  public let sizes: [Int]

  /// The most sizes one list may hold: more would be a typing error, not a sweep.
  public static let maximumCount = 10_000

  /// The most sizes a doubling may hold.
  public static let maximumPerOctave = 100

  /// `1k..100k`.
  public static let usual = SizeList(
    sizes: geometric(from: 1000, through: 100_000, perOctave: 1))

  private init(sizes: [Int]) { self.sizes = sizes }

  /// Reads a list of sizes and ranges.
  ///
  /// - Throws: `PlanError` that names `argument` and the item it could not use.
  public init(parsing text: String, argument: String = "--n") throws(PlanError) {
    var collected: Set<Int> = []
    for item in text.split(separator: ",", omittingEmptySubsequences: false) {
      let sizes = try Self.expand(Self.trimmed(item), argument: argument)
      collected.formUnion(sizes)
      guard collected.count <= Self.maximumCount else {
        throw PlanError(
          argument: argument, value: text, rule: "more than \(Self.maximumCount) sizes",
          fix: "use a coarser step")
      }
    }
    self.sizes = collected.sorted()
  }

  /// The resolved sizes as a comma list that parses back to the same list.
  public var description: String { sizes.map(String.init).joined(separator: ",") }

  private static func trimmed(_ item: Substring) -> String {
    String(item.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
  }
}

extension SizeList {
  private enum Step {
    case perOctave(Int)
    case linear(Int)
  }

  /// The sizes one item of the list stands for.
  private static func expand(_ item: String, argument: String) throws(PlanError) -> [Int] {
    func failure(_ rule: String, _ fix: String) -> PlanError {
      PlanError(argument: argument, value: item, rule: rule, fix: fix)
    }
    let parts = item.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    let body = parts[0]
    guard let dots = body.firstRange(of: "..") else {
      guard parts.count == 1 else {
        throw failure("a step needs a range", "write 1k..\(item)")
      }
      return [try SizeText.parse(body, argument: argument)]
    }
    let (from, to) = (String(body[..<dots.lowerBound]), String(body[dots.upperBound...]))
    guard !from.isEmpty, !to.isEmpty else {
      throw failure("a range has two ends", "write 1k..100k")
    }
    let first = try SizeText.parse(from, argument: argument)
    let last = try SizeText.parse(to, argument: argument)
    guard first <= last else {
      let step = parts.dropFirst().map { ":" + $0 }.joined()
      throw failure("the range runs downwards", "write \(to)..\(from)\(step)")
    }
    guard parts.count <= 2 else {
      throw failure("a range has one step", "write \(body):\(parts[1])")
    }
    switch parts.count == 2 ? try step(parts[1], of: item, argument: argument) : .perOctave(1) {
    case .perOctave(let count): return geometric(from: first, through: last, perOctave: count)
    case .linear(let count): return linear(from: first, through: last, count: count)
    }
  }

  private static func step(
    _ text: String, of item: String, argument: String
  ) throws(PlanError) -> Step {
    func failure(_ rule: String, _ fix: String) -> PlanError {
      PlanError(argument: argument, value: item, rule: rule, fix: fix)
    }
    let parts = text.split(separator: "=", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0] == "linear" || parts[0] == "per-octave" else {
      throw failure("unknown step ':\(text)'", "use :linear=10 or :per-octave=2")
    }
    let isLinear = parts[0] == "linear"
    let limits = isLinear ? 2...maximumCount : 1...maximumPerOctave
    guard let count = try? CountText.parse(parts[1]), limits.contains(count) else {
      throw failure(
        "'\(text)' is out of range",
        "\(parts[0]) takes a whole number from \(limits.lowerBound) to \(limits.upperBound)")
    }
    return isLinear ? .linear(count) : .perOctave(count)
  }

  private static func geometric(from first: Int, through last: Int, perOctave: Int) -> [Int] {
    var sizes: [Int] = []
    for octave in 0..<Int.bitWidth {
      let (base, overflow) = first.multipliedReportingOverflow(by: 1 << octave)
      // `1 << 63` is negative: an octave that high is past any last size as well.
      guard !overflow, base > 0, base < last else { break }
      sizes.append(base)
      for part in 1..<max(perOctave, 1) {
        let size = Double(base) * Double.exp2(Double(part) / Double(perOctave))
        guard size < Double(last) else { break }
        sizes.append(Int(size.rounded()))
      }
    }
    return sizes + [last]
  }

  private static func linear(from first: Int, through last: Int, count: Int) -> [Int] {
    let span = Double(last - first)
    let inner = (0..<count - 1).map { index in
      min(last, first + Int((span * Double(index) / Double(count - 1)).rounded()))
    }
    return inner + [last]
  }
}
