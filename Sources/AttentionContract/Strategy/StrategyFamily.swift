import AttentionKernels
import Tensors

/// What a strategy is before its parameters are known: how users write it, what it takes and how
/// one is made.
///
/// A family is a value, not a strategy: it has no work and no plan. One line of a
/// ``StrategyRegistry`` makes it known.
public struct StrategyFamily: Sendable {
  /// The name as the user types it, lower case: `window`.
  public let name: String
  /// Other names that mean the same.
  public let aliases: [String]
  /// What is computed.
  public let operatorClass: OperatorClass
  /// One line on what it does.
  public let summary: String
  /// The paper it comes from.
  public let source: String
  /// The parameters it takes, in positional order.
  public let parameters: [StrategyParameter]
  /// What it takes beyond query, key and value.
  public let operands: [OperandDeclaration]
  /// Whether later rows decide for earlier ones; see ``AttentionStrategy/laterRowsDecide``.
  public let laterRowsDecide: Bool
  /// Whether sweeps have it that name no strategies: one of a kind, so that curves can be told apart and all
  /// sizes be measured within minutes.
  public let isSweptByDefault: Bool
  /// Whether it is there to be measured against, being slow by design: searches pass it by.
  public let isCeiling: Bool
  private let makeSeries: CandidateSeries
  private let make: @Sendable (StrategyArguments) throws(AttentionError) -> any AttentionStrategy

  /// Ways to write a strategy for a problem, see ``candidateSeries(for:density:)``.
  public typealias CandidateSeries =
    @Sendable (_ problem: AttentionProblem, _ density: SearchDensity) -> [[String]]

  /// Describes a family.
  ///
  /// - Parameters:
  ///   - isSweptByDefault: whether sweeps have it that name no strategies.
  ///   - isCeiling: whether it bounds what others can do and is not a way to run a model.
  ///   - candidates: see ``candidateSeries(for:density:)``; by default one series of the family's
  ///     defaults alone.
  ///   - make: the strategy of written parameters. Unknown labels have been refused before; throws
  ///     an `AttentionError` naming a parameter that is out of range.
  public init(
    _ name: String, aliases: [String] = [], operatorClass: OperatorClass, summary: String,
    source: String, parameters: [StrategyParameter] = [], operands: [OperandDeclaration] = [],
    laterRowsDecide: Bool = false, isSweptByDefault: Bool = true, isCeiling: Bool = false,
    candidates: CandidateSeries? = nil,
    make: @escaping @Sendable (StrategyArguments) throws(AttentionError) -> any AttentionStrategy
  ) {
    self.name = name
    self.aliases = aliases
    self.operatorClass = operatorClass
    self.summary = summary
    self.source = source
    self.parameters = parameters
    self.operands = operands
    self.laterRowsDecide = laterRowsDecide
    self.isSweptByDefault = isSweptByDefault
    self.isCeiling = isCeiling
    makeSeries = candidates ?? { _, _ in isCeiling ? [] : [[name]] }
    self.make = make
  }

  /// Whether a name as users write it means this family.
  func answers(to name: String) -> Bool { self.name == name || aliases.contains(name) }

  /// The strategy of parsed text.
  ///
  /// - Throws: `AttentionError` when a parameter is unknown, with the nearest one, or out of range.
  func strategy(_ spec: StrategySpec) throws(AttentionError) -> any AttentionStrategy {
    try make(StrategyArguments(spec, parameters: parameters))
  }

  /// The strategy with its default parameters.
  ///
  /// - Throws: `AttentionError` when there is a parameter without a default.
  public func defaults() throws(AttentionError) -> any AttentionStrategy {
    try make(.none(for: name))
  }

  /// The ways to write the strategy that are worth a look when a user asks which attention to run:
  /// series of texts, in each of which every entry costs more than the one before and, as a rule,
  /// loses less. A search for the cheapest entry that loses little enough halves a series instead
  /// of measuring all of it.
  public func candidateSeries(
    for problem: AttentionProblem, density: SearchDensity
  ) -> [[String]] { makeSeries(problem, density) }
}

/// A strategy that belongs to a family, so that users can write it.
public protocol FamilyStrategy: AttentionStrategy {
  /// The family.
  static var family: StrategyFamily { get }
}

extension FamilyStrategy {
  public var name: String { Self.family.name }
  public var operatorClass: OperatorClass { Self.family.operatorClass }
  public var operands: [OperandDeclaration] { Self.family.operands }
  public var laterRowsDecide: Bool { Self.family.laterRowsDecide }
}
