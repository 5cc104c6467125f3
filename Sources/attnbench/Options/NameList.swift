import Suggestions

/// A comma-separated list of names from a fixed set: `svg,png`.
enum NameList {
  /// Reads a list; repeated names count once.
  ///
  /// - Throws: `UsageError` naming the option, with the nearest name.
  static func parse<Name>(
    _ text: String, option: String
  ) throws(UsageError) -> [Name]
  where Name: RawRepresentable<String> & CaseIterable & Hashable {
    let known = Name.allCases.map(\.rawValue)
    var names: [Name] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let word = part.filter { !$0.isWhitespace }
      guard let name = Name(rawValue: word) else {
        let nearest = NearestName.suggestions(for: word, among: known).first
        throw UsageError(
          "\(option) \(text): unknown '\(word)'; "
            + (nearest.map { "did you mean '\($0)'? " } ?? "")
            + "known are \(known.joined(separator: ", "))")
      }
      if !names.contains(name) { names.append(name) }
    }
    return names
  }
}
