import Attention

/// A strategy without parameters from outside the package: its name and class make its family.
protocol OutsideStrategy: FamilyStrategy {
  static var name: String { get }
  static var operatorClass: OperatorClass { get }
  init(_ arguments: StrategyArguments) throws(AttentionError)
}

extension OutsideStrategy {
  static var family: StrategyFamily {
    StrategyFamily(
      name, operatorClass: operatorClass, summary: "defined by a test", source: "none"
    ) { arguments throws(AttentionError) in try Self(arguments) }
  }
}
