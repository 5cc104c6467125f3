import AttentionKernels
import Suggestions
import Tensors

/// The strategies a program knows by name.
public struct StrategyRegistry: Sendable {
  /// The families, in the order tables show them.
  public private(set) var families: [StrategyFamily]

  /// A registry of the given families.
  public init(_ families: [StrategyFamily]) { self.families = families }

  /// This registry and one more family; a family of the same name is replaced.
  public func adding(_ family: StrategyFamily) -> StrategyRegistry {
    StrategyRegistry(families.filter { $0.name != family.name } + [family])
  }

  /// The names of those of the exact class, in the same order.
  public var exactNames: [String] {
    families.filter { $0.operatorClass == .exact }.map(\.name)
  }

  /// The name that a family has now, of a name that it had: what older files say stays readable.
  public func currentName(of name: String) -> String {
    families.first { $0.answers(to: name) }?.name ?? name
  }

  /// The strategy a text like `window(512, sinks: 4)` names.
  ///
  /// - Throws: `AttentionError` when the name or a parameter is unknown, with the nearest one, or
  ///   a parameter is out of range.
  public func strategy(_ text: String) throws(AttentionError) -> any AttentionStrategy {
    let spec = try StrategySpec(parsing: text)
    guard let family = families.first(where: { $0.answers(to: spec.name) }) else {
      let names = families.map { $0.name }
      let nearest = NearestName.suggestions(for: spec.name, among: names).first
      throw AttentionError(
        .unknownStrategy, argument: "strategy", value: spec.name,
        advice: nearest.map { "did you mean '\($0)'?" }
          ?? "known are \(names.joined(separator: ", "))")
    }
    return try family.strategy(spec)
  }

  /// The strategies of a comma-separated list; commas inside parentheses do not separate.
  ///
  /// - Throws: `AttentionError` as `strategy(_:)` does.
  public func strategies(_ list: String) throws(AttentionError) -> [any AttentionStrategy] {
    var strategies: [any AttentionStrategy] = []
    for text in StrategySpec.split(list) { strategies.append(try strategy(text)) }
    return strategies
  }

  /// Every family with its default parameters.
  ///
  /// - Parameter isIncluded: whether a family is among them; all by default.
  /// - Throws: `AttentionError` when a family has a parameter without a default.
  public func defaults(
    where isIncluded: (StrategyFamily) -> Bool = { _ in true }
  ) throws(AttentionError) -> [any AttentionStrategy] {
    var strategies: [any AttentionStrategy] = []
    for family in families where isIncluded(family) {
      strategies.append(try family.defaults())
    }
    return strategies
  }
}
