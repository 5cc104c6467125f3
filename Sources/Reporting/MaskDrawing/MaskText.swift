import Choosing
import Measuring
import Records
import Statistics
import Units

extension MaskGrid {
  /// From no pair of a cell to every pair.
  private static let ramp: [Character] = [".", ":", "-", "=", "+", "*", "%", "#"]

  /// The grid in characters, one line a row of cells: queries downwards, keys to the right.
  public var text: String {
    (0..<rowCount).map { row in
      String((0..<columnCount).map { Self.character(share(row: row, column: $0)) })
    }.joined(separator: "\n")
  }

  /// What a character stands for.
  public var legend: String {
    if isExact { return "one character a pair: # seen, . not" }
    return "one character: \(Self.blockText(queryLength, rowCount)) queries x "
      + "\(Self.blockText(keyLength, columnCount)) keys; . none seen, "
      + "\(String(Self.ramp.dropFirst().dropLast())) some, # all"
  }

  /// How many of `length` rows or columns one of `cells` stands for: `32`, `about 4.27`.
  static func blockText(_ length: Int, _ cells: Int) -> String {
    length.isMultiple(of: cells)
      ? "\(length / cells)" : "about \(SignificantDigits.three(Double(length) / Double(cells)))"
  }

  /// `.` and `#` are kept for cells that are quite empty and quite full.
  private static func character(_ share: Float) -> Character {
    if share <= 0 { return ramp[0] }
    if share >= 1 { return ramp[ramp.count - 1] }
    let steps = ramp.count - 2
    return ramp[1 + min(Int(share * Float(steps)), steps - 1)]
  }
}
