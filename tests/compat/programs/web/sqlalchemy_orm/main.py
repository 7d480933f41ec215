"""Tables, relations and a transaction that is rolled back."""

from sqlalchemy import ForeignKey, create_engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "order"
    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[float]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")


engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Customer(name="Zoë", orders=[Order(total=1.5), Order(total=2)]))
    session.add(Customer(name="Bob"))
    session.commit()
    totals = select(Customer.name, func.sum(Order.total)).outerjoin(Order).group_by(Customer.name)
    print(session.execute(totals.order_by(Customer.name)).all())
    session.add(Customer(name="Bob"))
    try:
        session.commit()
    except IntegrityError as error:
        session.rollback()
        print(error.orig)
engine.dispose()
